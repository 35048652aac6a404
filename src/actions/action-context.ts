import type { Database } from '../db/database.ts';
import type { ClusterSettings, SubmissionLimits } from '../domain/cluster-settings.ts';

/** What every action works with, and on whose behalf. */
export interface ActionContext {
  database: Database;
  /** By name, as configured. */
  clusters: ReadonlyMap<string, ClusterSettings>;
  /** Used where a submission names no cluster. */
  defaultCluster: string;
  /** SLURM's MaxArraySize as the cluster last said it; null where it is unknown or there are no arrays. */
  maxArraySizeOf(cluster: string): Promise<number | null>;
  limits: SubmissionLimits;
  /** Name of the token of whoever asks. */
  tokenName: string;
}

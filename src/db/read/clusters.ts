/** Reads of what the clusters last said about themselves, merged with what is configured. */
import { eq } from 'drizzle-orm';
import { CLOSED_BREAKER, type BreakerStatus } from '../../domain/breaker-status.ts';
import type { ClusterKind } from '../../domain/cluster-settings.ts';
import type { Partition } from '../../domain/partition.ts';
import type { QueueWait } from '../../domain/queue-wait.ts';
import type { Reader } from '../database.ts';
import { clusters, type StoredBreaker } from '../tables/index.ts';

/** A cluster as it was last seen. */
export interface ClusterState {
  name: string;
  kind: ClusterKind;
  reachable: boolean;
  lastContactAt: Date | null;
  lastError: string | null;
  partitions: Partition[] | null;
  pendingJobCount: number | null;
  runningJobCount: number | null;
  maxArraySize: number | null;
  schedulerVersion: string | null;
  hasAccounting: boolean | null;
  watch: 'LIVE' | 'POLLING';
  /** Why it is not watched live; null while it is. */
  watchReason: string | null;
  breaker: BreakerStatus;
  /** Why jobs stay in our queue for it. */
  queueWaits: QueueWait[];
}

/** What the configuration says of a cluster that reads need. */
export interface ConfiguredCluster {
  name: string;
  kind: ClusterKind;
}

const NOT_CONFIGURED = 'not in the configuration of this server';

/** Every cluster that is configured or was ever contacted, by name. One that was never contacted, or is not configured, is not reachable. */
export async function allClusters(reader: Reader, configured: ReadonlyMap<string, ConfiguredCluster>): Promise<ClusterState[]> {
  const contacted = new Map((await reader.select().from(clusters)).map((row) => [row.name, { ...row, breaker: breakerOf(row.breaker) }]));
  const names = [...new Set([...configured.keys(), ...contacted.keys()])].sort();
  return names.flatMap((name) => {
    const row = contacted.get(name);
    const settings = configured.get(name);
    if (settings === undefined) return row === undefined ? [] : [{ ...row, reachable: false, lastError: NOT_CONFIGURED }];
    return [row === undefined ? neverContacted(settings) : { ...row, kind: settings.kind }];
  });
}

/** SLURM's MaxArraySize as the cluster last said it; null where it is unknown or there are no arrays. */
export async function readMaxArraySize(reader: Reader, name: string): Promise<number | null> {
  const [row] = await reader.select({ maxArraySize: clusters.maxArraySize }).from(clusters).where(eq(clusters.name, name));
  return row?.maxArraySize ?? null;
}

/** The partitions as the cluster last said them; null where it has not. */
export async function readPartitions(reader: Reader, name: string): Promise<Partition[] | null> {
  const [row] = await reader.select({ partitions: clusters.partitions }).from(clusters).where(eq(clusters.name, name));
  return row?.partitions ?? null;
}

/** A cluster that nobody knows of any more but the jobs that were submitted to it. */
export function unknownCluster(name: string): ClusterState {
  return { ...neverContacted({ name, kind: 'SLURM' }), lastError: NOT_CONFIGURED };
}

/** A cluster that has said nothing yet. */
function neverContacted({ name, kind }: ConfiguredCluster): ClusterState {
  return {
    name, kind, reachable: false, lastContactAt: null, lastError: null, partitions: null,
    pendingJobCount: null, runningJobCount: null, maxArraySize: null, schedulerVersion: null, hasAccounting: null,
    watch: 'POLLING', watchReason: 'no server has looked after it yet', breaker: CLOSED_BREAKER, queueWaits: [],
  };
}

function breakerOf(stored: StoredBreaker | null): BreakerStatus {
  const momentOf = (text: string | null): Date | null => (text === null ? null : new Date(text));
  return stored === null ? CLOSED_BREAKER : { ...stored, openedAt: momentOf(stored.openedAt), nextTryAt: momentOf(stored.nextTryAt) };
}

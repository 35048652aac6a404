/** What a job asks for: the plain data shared by submission, the database, script rendering and the executors. */

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type JsonObject = { [key: string]: Json };

/** What one job asks of a cluster. Absent values fall back to the cluster's defaults, then to SLURM's own. */
export interface Resources {
  /** GPUs on each node; 0 for none. */
  gpus: number;
  /** GPU type as the cluster names it (`rtx8000`), or null for any. */
  gpuType: string | null;
  /** CPU cores for the task. */
  cpus: number;
  /** Memory on each node in MiB, or null for the partition's default. */
  memoryMiB: number | null;
  /** Wall-clock limit in whole minutes, or null for the partition's default. */
  timeLimitMinutes: number | null;
  nodes: number;
  partition: string | null;
  account: string | null;
  qos: string | null;
  /** Further sbatch long options without dashes (`constraint`, `exclude`, ...), from a closed list. */
  sbatchOptions: Record<string, string>;
}

/** What makes two jobs the same run: the command, the configuration and the code. Input of the fingerprint. */
export interface JobIdentity {
  /**
   * argv template. An element that is exactly `{overrides}` becomes one `key=value` element for each config leaf;
   * `{config}`, `{job_dir}`, `{checkpoints_dir}`, `{artifacts_dir}`, `{config.KEY}` are replaced inside an element.
   */
  command: string[];
  config: JsonObject;
  /** Extra variables for the job, values are templates like `command`. */
  environment: Record<string, string>;
  /** Where the command runs on the cluster; null means the job directory. */
  workingDirectory: string | null;
  /** A git commit or any other word that tells two versions of the code apart. */
  codeVersion: string | null;
}

export type Goal = 'MIN' | 'MAX';
export const GOALS = ['MIN', 'MAX'] as const satisfies readonly Goal[];

/** What "best" means in an experiment. */
export interface Objective {
  metric: string;
  goal: Goal;
}

export const PRIORITY_MIN = 0;
export const PRIORITY_MAX = 1000;
export const PRIORITY_DEFAULT = 100;

/** A partition of a cluster, as SLURM describes it: what a job may ask for there. */
export interface Partition {
  name: string;
  isDefault: boolean;
  /** `up`, `down`, `drain`, `inact`. */
  availability: string;
  /** Null when the partition sets no limit. */
  timeLimitMinutes: number | null;
  nodeCount: number;
  idleNodeCount: number;
  cpuCount: number;
  idleCpuCount: number;
  memoryMiBPerNode: number | null;
  gpus: GpuCount[];
}

export interface GpuCount {
  type: string | null;
  total: number;
  /** Null where the cluster does not say. */
  used: number | null;
}

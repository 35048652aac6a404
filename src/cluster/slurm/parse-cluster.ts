/** Reads what sinfo and scontrol say of the cluster as a whole. Pure. */
import type { GpuCount, Partition } from '../../domain/partition.ts';
import type { ClusterDescription } from '../executor.ts';
import { parseMinutes } from './values.ts';

/** Reads the answer to NODES_COMMAND: one row a node and partition, summed up by partition. */
export function parsePartitions(text: string): Partition[] {
  const partitions = new Map<string, Partition>();
  for (const line of text.split('\n')) {
    const fields = line.split('|').map((field) => field.trim());
    if (fields.length < 9) continue;
    const [label = '', , state = '', cpus = '', memory = '', gres = '', gresUsed = '', time = '', availability = ''] = fields;
    const name = label.replace(/\*$/, '');
    const partition = partitions.get(name) ?? {
      name, isDefault: label.endsWith('*'), availability, timeLimitMinutes: parseMinutes(time),
      nodeCount: 0, idleNodeCount: 0, cpuCount: 0, idleCpuCount: 0, memoryMiBPerNode: null, gpus: [],
    };
    const [, idleCpus = 0, , allCpus = 0] = cpus.split('/').map(Number);
    partition.nodeCount += 1;
    // `idle*` does not answer, `idle~` is powered down, `idle+drain` takes no jobs: none of them can start one now.
    if (state === 'idle') partition.idleNodeCount += 1;
    partition.cpuCount += allCpus;
    partition.idleCpuCount += idleCpus;
    partition.memoryMiBPerNode = Math.max(partition.memoryMiBPerNode ?? 0, Number(memory) || 0) || null;
    addGpus(partition.gpus, parseGpus(gres), parseGpus(gresUsed));
    partitions.set(name, partition);
  }
  return [...partitions.values()];
}

/** `gpu:rtx8000:2(S:0-1),mps:100` -> 2 of type rtx8000; `gpu:4` has no type. */
function parseGpus(gres: string): { type: string | null; count: number }[] {
  return gres.replace(/\([^)]*\)/g, '').split(',').flatMap((item) => {
    const match = /^gpu(?::([^:]*))?:(\d+)$/.exec(item.trim());
    return match === null ? [] : [{ type: match[1] ?? null, count: Number(match[2]) }];
  });
}

function addGpus(into: GpuCount[], total: { type: string | null; count: number }[], used: { type: string | null; count: number }[]): void {
  for (const { type, count } of total) {
    let entry = into.find((gpu) => gpu.type === type);
    if (entry === undefined) into.push(entry = { type, total: 0, used: 0 });
    entry.total += count;
    const usedHere = used.find((gpu) => gpu.type === type);
    if (entry.used !== null) entry.used = usedHere === undefined ? null : entry.used + usedHere.count;
  }
}

/** What `scontrol show config` says that is not shown as it is. */
interface SiteRules {
  /** Null where it does not say. */
  keepsAccounts: boolean | null;
  /** Whether everybody sees the jobs of all users. */
  showsEverybody: boolean;
}

/** What `scontrol show config` says that matters here. */
export interface SlurmConfig extends Pick<ClusterDescription, 'maxArraySize' | 'maxJobCount' | 'schedulerVersion'>, SiteRules {
  /** SLURM's own name of the cluster. */
  clusterName: string | null;
}

/** Reads `scontrol show config`. */
export function parseConfig(text: string): SlurmConfig {
  const value = (name: string): string | null => new RegExp(`^${name}\\s*=\\s*(.*?)\\s*$`, 'm').exec(text)?.[1] ?? null;
  const numberIn = (word: string | null | undefined): number[] => (word !== null && word !== undefined && /^\d+$/.test(word) ? [Number(word)] : []);
  const sizes = [...numberIn(value('MaxArraySize')), ...numberIn(/max_array_tasks=(\d+)/i.exec(value('SchedulerParameters') ?? '')?.[1])];
  const storage = value('AccountingStorageType');
  return {
    maxArraySize: sizes.length === 0 ? null : Math.min(...sizes), maxJobCount: numberIn(value('MaxJobCount'))[0] ?? null,
    schedulerVersion: value('SLURM_VERSION'), clusterName: value('ClusterName'),
    // Newer versions show no plugin at all where there is none.
    showsEverybody: !/(?:^|,)(?:jobs|all)(?:,|$)/i.test(value('PrivateData') ?? ''),
    keepsAccounts: storage === null ? null : !/^(?:accounting_storage\/none|\(null\)|)$/.test(storage),
  };
}

import { readPartitions } from '../db/read/clusters.ts';
import type { Partition } from '../domain/partition.ts';
import type { UserFault } from '../domain/errors.ts';
import type { Resources } from '../domain/job-spec.ts';
import type { ActionContext } from './action-context.ts';
import { badInput } from './input-faults.ts';

/** The partitions as the cluster last said them; null where it said nothing or has none. */
export async function partitionsOf({ database, clusters }: Pick<ActionContext, 'database' | 'clusters'>, name: string): Promise<Partition[] | null> {
  return clusters.get(name)?.kind === 'SLURM' ? readPartitions(database, name) : null;
}

/** What the cluster could never run, by what it last said of its partitions; nothing when it said nothing. */
export function partitionFaults(resources: Resources, partitions: readonly Partition[] | null, field: string[] = ['resources']): UserFault[] {
  if (partitions === null || partitions.length === 0) return [];
  const asked = resources.partition?.split(',') ?? null;
  const unknown = (asked ?? []).filter((name) => !partitions.some((partition) => partition.name === name));
  if (unknown.length > 0) {
    const names = partitions.map((partition) => partition.name).join(', ');
    return [badInput([...field, 'partition'], `the cluster has no partition "${unknown.join('", "')}"; it has ${names}`)];
  }
  const possible = partitions.filter((partition) => (asked === null ? partition.isDefault : asked.includes(partition.name)));
  const where = possible.map((partition) => partition.name).join(', ');
  if (possible.length === 0) return [];
  const faults = [gpuFaults, machineFaults, timeFaults].flatMap((find) => find(resources, possible, where));
  return faults.map(({ name, message }) => badInput([...field, name], message));
}

interface ResourceFault {
  name: keyof Resources;
  message: string;
}

function gpuFaults({ gpus, gpuType, nodes }: Resources, possible: readonly Partition[], where: string): ResourceFault[] {
  if (gpus === 0) return [];
  const offered = possible.flatMap((partition) => partition.gpus).filter((gpu) => gpu.total > 0);
  if (offered.length === 0) return [{ name: 'gpus', message: `partition ${where} has no GPUs` }];
  const types = [...new Set(offered.flatMap((gpu) => (gpu.type === null ? [] : [gpu.type])))];
  if (gpuType !== null && types.length > 0 && !types.includes(gpuType)) {
    return [{ name: 'gpuType', message: `partition ${where} has no GPU "${gpuType}"; it has ${types.join(', ')}` }];
  }
  const matching = (partition: Partition) => partition.gpus.filter((gpu) => gpuType === null || gpu.type === null || gpu.type === gpuType);
  const most = greatest(possible, (partition) => matching(partition).reduce((sum, gpu) => sum + gpu.total, 0));
  if (gpus * nodes <= most) return [];
  return [{ name: 'gpus', message: `${gpus} on each of ${nodes} nodes come to ${gpus * nodes}; partition ${where} has ${most}${gpuType === null ? '' : ` of ${gpuType}`}` }];
}

/** Only what all nodes together have is known, but for the memory: that is of the largest node. */
function machineFaults({ nodes, cpus, memoryMiB }: Resources, possible: readonly Partition[], where: string): ResourceFault[] {
  const nodeCount = greatest(possible, (partition) => partition.nodeCount);
  const cpuCount = greatest(possible, (partition) => partition.cpuCount);
  const memory = greatest(possible, (partition) => partition.memoryMiBPerNode ?? Number.POSITIVE_INFINITY);
  const faults: ResourceFault[] = [];
  if (nodes > nodeCount) faults.push({ name: 'nodes', message: `${nodes} is more than the ${nodeCount} nodes of partition ${where}` });
  else if (cpus * nodes > cpuCount) {
    faults.push({ name: 'cpus', message: `${cpus} on each of ${nodes} nodes come to ${cpus * nodes}; partition ${where} has ${cpuCount} on ${nodeCount} nodes` });
  }
  if (memoryMiB !== null && memoryMiB > memory) {
    faults.push({ name: 'memoryMiB', message: `${memoryMiB} is more than the ${memory} MiB of the largest node of partition ${where}` });
  }
  return faults;
}

function greatest(partitions: readonly Partition[], valueOf: (partition: Partition) => number): number {
  return Math.max(...partitions.map(valueOf));
}

function timeFaults({ timeLimitMinutes }: Resources, possible: readonly Partition[], where: string): ResourceFault[] {
  const longest = greatest(possible, (partition) => partition.timeLimitMinutes ?? Number.POSITIVE_INFINITY);
  if (timeLimitMinutes === null || timeLimitMinutes <= longest) return [];
  return [{ name: 'timeLimitMinutes', message: `${timeLimitMinutes} is more than the ${longest} minutes that partition ${where} allows` }];
}

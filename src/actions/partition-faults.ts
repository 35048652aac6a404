import type { PartitionRow } from '../db/tables/clusters.ts';
import type { UserFault } from '../domain/errors.ts';
import type { Resources } from '../domain/job-spec.ts';
import { badInput } from './input-faults.ts';

/** What the cluster could never run, by what it last said of its partitions; nothing when it said nothing. */
export function partitionFaults(resources: Resources, partitions: readonly PartitionRow[] | null): UserFault[] {
  if (partitions === null || partitions.length === 0) return [];
  const named = partitions.filter((partition) => partition.name === resources.partition);
  if (resources.partition !== null && named.length === 0) {
    const names = partitions.map((partition) => partition.name).join(', ');
    return [badInput(['resources', 'partition'], `the cluster has no partition "${resources.partition}"; it has ${names}`)];
  }
  const possible = resources.partition === null ? partitions.filter((partition) => partition.isDefault) : named;
  const where = possible.map((partition) => partition.name).join(', ');
  if (possible.length === 0) return [];
  return [...gpuFaults(resources, possible, where), ...timeFaults(resources, possible, where)];
}

function gpuFaults({ gpus, gpuType }: Resources, possible: readonly PartitionRow[], where: string): UserFault[] {
  if (gpus === 0) return [];
  const offered = possible.flatMap((partition) => partition.gpus).filter((gpu) => gpu.total > 0);
  if (offered.length === 0) return [badInput(['resources', 'gpus'], `partition ${where} has no GPUs`)];
  const types = [...new Set(offered.flatMap((gpu) => (gpu.type === null ? [] : [gpu.type])))];
  if (gpuType === null || types.length === 0 || types.includes(gpuType)) return [];
  return [badInput(['resources', 'gpuType'], `partition ${where} has no GPU "${gpuType}"; it has ${types.join(', ')}`)];
}

function timeFaults({ timeLimitMinutes }: Resources, possible: readonly PartitionRow[], where: string): UserFault[] {
  const limits = possible.map((partition) => partition.timeLimitMinutes ?? Number.POSITIVE_INFINITY);
  const longest = Math.max(...limits);
  if (timeLimitMinutes === null || timeLimitMinutes <= longest) return [];
  return [badInput(['resources', 'timeLimitMinutes'], `${timeLimitMinutes} is more than the ${longest} minutes that partition ${where} allows`)];
}

import { Directive, Field, Int, ObjectType } from 'type-graphql';
import type { BreakerState, BreakerStatus } from '../domain/breaker-status.ts';
import type { ClusterKind } from '../domain/cluster-settings.ts';
import { BreakerStateEnum, ClusterKindEnum, WatchStateEnum } from './enums.ts';
import { DateTime } from './scalars.ts';

@ObjectType('GpuCount', { description: 'GPUs of one type in a partition.' })
class GpuCountType {
  @Field(() => String, { nullable: true, description: 'The type as the cluster names it; null when it names none.' })
  type!: string | null;

  @Field(() => Int, { description: 'How many there are.' })
  total!: number;

  @Field(() => Int, { nullable: true, description: 'How many are in use; null when the cluster does not say.' })
  used!: number | null;
}

@ObjectType('Partition', { description: 'A partition of a cluster, as it was last seen.' })
class PartitionType {
  @Field(() => String, { description: 'Its name.' })
  name!: string;

  @Field(() => Boolean, { description: 'Whether jobs go here that name no partition.' })
  isDefault!: boolean;

  @Field(() => String, { description: '`up`, `down`, `drain` or `inact`.' })
  availability!: string;

  @Field(() => Int, { nullable: true, description: 'Longest time a job may run, in minutes; null for no limit.' })
  timeLimitMinutes!: number | null;

  @Field(() => Int, { description: 'Nodes in it.' })
  nodeCount!: number;

  @Field(() => Int, { description: 'Nodes that run nothing.' })
  idleNodeCount!: number;

  @Field(() => Int, { description: 'CPU cores in it.' })
  cpuCount!: number;

  @Field(() => Int, { description: 'CPU cores not in use.' })
  idleCpuCount!: number;

  @Field(() => Int, { nullable: true, description: 'Memory of each node in MiB; null when the cluster does not say.' })
  memoryMiBPerNode!: number | null;

  @Field(() => [GpuCountType], { description: 'Its GPUs by type.' })
  gpus!: GpuCountType[];
}

@ObjectType('Breaker', { description: 'The circuit breaker of a cluster: who does not answer is left alone for a while, instead of being asked again and again.' })
class BreakerType {
  @Field(() => BreakerStateEnum, { description: 'Whether calls are tried.' })
  state!: BreakerState;

  @Field(() => String, { nullable: true, description: 'What the last failure said; null while calls get through.' })
  reason!: string | null;

  @Field(() => Int, { description: 'Failures in a row.' })
  failureCount!: number;

  @Field(() => DateTime, { nullable: true, description: 'Since when it is left alone; null while it is not.' })
  openedAt!: Date | null;

  @Field(() => DateTime, { nullable: true, description: 'When one call is tried again; null while all are.' })
  nextTryAt!: Date | null;
}

@Directive('@key(fields: "name")')
@ObjectType('Cluster', { description: 'A place where jobs run. Live fields are what it said when it was last asked; no query waits for it.' })
export class ClusterType {
  @Field(() => String, { description: 'Its name in the configuration.' })
  name!: string;

  @Field(() => ClusterKindEnum, { description: 'What runs its jobs.' })
  kind!: ClusterKind;

  @Field(() => Boolean, { description: 'Whether it answered when it was last asked.' })
  reachable!: boolean;

  @Field(() => DateTime, { nullable: true, description: 'When it last answered; null if never.' })
  lastContactAt!: Date | null;

  @Field(() => String, { nullable: true, description: 'What went wrong when it last did not answer, or that it is not in the configuration of this server.' })
  lastError!: string | null;

  @Field(() => WatchStateEnum, { description: 'Whether what its jobs do is pushed to us or polled.' })
  watch!: 'LIVE' | 'POLLING';

  @Field(() => String, { nullable: true, description: 'Why it is polled; null while it is watched live.' })
  watchReason!: string | null;

  @Field(() => BreakerType, { description: 'Whether it is tried at all, and when again.' })
  breaker!: BreakerStatus;

  @Field(() => [PartitionType], { nullable: true, description: 'Its partitions; null while it has not told.' })
  partitions!: PartitionType[] | null;

  @Field(() => String, { nullable: true, description: 'Version of its scheduler; null while it has not told.' })
  schedulerVersion!: string | null;

  @Field(() => Boolean, {
    nullable: true,
    description: 'Whether it keeps accounts of jobs that have ended (sacct). Without them the states come from its queue and from what the jobs themselves wrote, and a job that vanished from both is LOST after 10 minutes. Null while it has not told.',
  })
  hasAccounting!: boolean | null;

  @Field(() => Int, { nullable: true, description: "SLURM's MaxArraySize, at which sweeps are cut into batches." })
  maxArraySize!: number | null;
}

import { Arg, Ctx, Directive, FieldResolver, Resolver, Root } from 'type-graphql';
import type { CheckpointRow } from '../db/read/checkpoints.ts';
import { AttemptType } from './attempt.type.ts';
import { CheckpointType, MetricAtStepType } from './checkpoint.type.ts';
import { ClusterType } from './cluster.type.ts';
import type { GraphqlContext } from './context.ts';
import { JobType } from './job.type.ts';
import { clusterOf } from './loaders.ts';
import { finite } from './metric-series.ts';
import { fileUri } from './uri.ts';

@Resolver(() => CheckpointType)
export class CheckpointResolver {
  @FieldResolver(() => JobType, { description: 'The job that wrote it.' })
  job(@Root() checkpoint: CheckpointRow, @Ctx() { loaders }: GraphqlContext) {
    return loaders.jobById.load(checkpoint.jobId);
  }

  @FieldResolver(() => AttemptType, { description: 'The execution that wrote it last.' })
  attempt(@Root() checkpoint: CheckpointRow, @Ctx() { loaders }: GraphqlContext) {
    return loaders.attemptByNumber.load({ jobId: checkpoint.jobId, number: checkpoint.attemptNumber });
  }

  @FieldResolver(() => ClusterType, { description: 'Where it lies.' })
  async cluster(@Root() checkpoint: CheckpointRow, @Ctx() { loaders }: GraphqlContext) {
    const job = await loaders.jobById.load(checkpoint.jobId);
    return job === null ? null : clusterOf(loaders, job.cluster);
  }

  @FieldResolver(() => String, { description: '`ssh://host/path` or `file:///path`: enough to load it.' })
  async uri(@Root() checkpoint: CheckpointRow, @Ctx() { loaders, actions }: GraphqlContext) {
    const job = await loaders.jobById.load(checkpoint.jobId);
    return fileUri(actions.clusters.get(job?.cluster ?? ''), checkpoint.path);
  }

  @Directive('@listSize(assumedSize: 5)')
  @FieldResolver(() => [MetricAtStepType], { description: 'The metrics as they stood when it was written, by name; empty when its step is not known.' })
  async metrics(
    @Root() checkpoint: CheckpointRow, @Ctx() { loaders }: GraphqlContext,
    @Arg('keys', () => [String], { nullable: true, description: 'Which metrics; all when left out.' }) keys: string[] | null,
  ): Promise<MetricAtStepType[]> {
    if (checkpoint.step === null) return [];
    const rows = await loaders.metricsAtStep.load(keys ?? null, { jobId: checkpoint.jobId, step: checkpoint.step });
    return rows.map((row) => ({ ...row, value: finite(row.value) }));
  }
}

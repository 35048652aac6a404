import { Arg, Ctx, Directive, FieldResolver, Resolver, Root } from 'type-graphql';
import type { CheckpointRow } from '../db/read/checkpoints.ts';
import { restoreCommand } from '../domain/checkpoint-requests/archive-name.ts';
import { AttemptType } from './attempt.type.ts';
import { CheckpointType, EarlierArchiveType, MetricAtStepType } from './checkpoint.type.ts';
import { ClusterType } from './cluster.type.ts';
import type { GraphqlContext } from './context.ts';
import { bestCheckpointOf } from './best-checkpoint.ts';
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

  @FieldResolver(() => String, { nullable: true, description: 'ARCHIVED: a shell command that unpacks it to where it was, and leaves the archive. `restoreCheckpoints` does that, too, and removes the archive.' })
  restoreCommand(@Root() { path, archivePath }: CheckpointRow) {
    return archivePath === null ? null : restoreCommand(path, archivePath);
  }

  @Directive('@listSize(assumedSize: 2)')
  @FieldResolver(() => [EarlierArchiveType], {
    description: 'Archives of what lay at its path before, oldest first. No request ever touches them: unpack them by hand under another name, or remove them when nobody needs them any more.',
  })
  earlierArchives(@Root() checkpoint: CheckpointRow): EarlierArchiveType[] {
    return checkpoint.earlierArchives.map(({ path, bytes, archivedAt }) => ({ path, bytes, archivedAt: new Date(archivedAt) }));
  }

  @FieldResolver(() => [String], {
    description: 'What links, file names, pointer files and the job call it, such as `last`. `best` is also the best of its job by the objective of the experiment, `last` also the last of its job.',
  })
  async aliases(@Root() checkpoint: CheckpointRow, @Ctx() { loaders }: GraphqlContext) {
    const [job, last] = await Promise.all([loaders.jobById.load(checkpoint.jobId), loaders.lastCheckpoint.load(checkpoint.jobId)]);
    const best = job === null ? null : await bestCheckpointOf(loaders, job, { metric: null, goal: null });
    const computed = [...(best?.id === checkpoint.id ? ['best'] : []), ...(last?.id === checkpoint.id ? ['last'] : [])];
    return [...new Set([...checkpoint.aliases, ...computed])].sort();
  }

  @Directive('@listSize(assumedSize: 5)')
  @FieldResolver(() => [MetricAtStepType], { description: 'The metrics as they stood when it was written, by name: those that the job gave with it, else the last values at or before its step.' })
  async metrics(
    @Root() checkpoint: CheckpointRow, @Ctx() { loaders }: GraphqlContext,
    @Arg('keys', () => [String], { nullable: true, description: 'Which metrics; all when left out.' }) keys: string[] | null,
  ): Promise<MetricAtStepType[]> {
    const { step, jobId, loggedMetrics, writtenAt } = checkpoint;
    const rows = step === null ? [] : await loaders.metricsAtStep.load(keys ?? null, { jobId, step });
    const given = Object.entries(loggedMetrics ?? {}).filter(([key]) => keys?.includes(key) ?? true);
    const ofStep = rows.filter(({ key }) => !Object.hasOwn(loggedMetrics ?? {}, key)).map((row) => ({ ...row, value: finite(row.value), stepsApart: (step ?? row.step) - row.step }));
    return [...given.map(([key, value]) => ({ key, value, step, stepsApart: 0, time: writtenAt })), ...ofStep].sort((one, other) => (one.key < other.key ? -1 : 1));
  }
}

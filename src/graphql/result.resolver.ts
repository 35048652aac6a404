import { Arg, Ctx, Directive, FieldResolver, Int, Query, Resolver, Root } from 'type-graphql';
import { resultCount, resultPage } from '../db/read/jobs-of-experiments.ts';
import type { ResultRow } from '../db/read/results.ts';
import { CheckpointType } from './checkpoint.type.ts';
import { AFTER_DESCRIPTION, FIRST_DESCRIPTION, LIST_SIZE, pageRequest, toConnection } from './connection.ts';
import type { GraphqlContext } from './context.ts';
import { bestCheckpointOf } from './best-checkpoint.ts';
import { ArtifactType, JobType, ResultConnection, ResultType } from './job.type.ts';
import { ResultFilterInput, ResultOrderInput, toResultFilter, toResultOrder } from './result.input.ts';
import { fileUri } from './uri.ts';

/** A results table is read whole more often than other lists. */
const DEFAULT_RESULTS = 100;

@Resolver(() => ResultType)
export class ResultResolver {
  @Directive(LIST_SIZE)
  @Query(() => ResultConnection, { description: 'What completed jobs yielded; the first finished first unless ordered otherwise.' })
  async results(
    @Ctx() { database, tables }: GraphqlContext,
    @Arg('filter', () => ResultFilterInput, { nullable: true, description: 'Which ones; all when left out.' }) filter: ResultFilterInput | null,
    @Arg('orderBy', () => [ResultOrderInput], { nullable: true, description: 'Sort keys, the most important first.' }) orderBy: ResultOrderInput[] | null,
    @Arg('first', () => Int, { nullable: true, defaultValue: DEFAULT_RESULTS, description: FIRST_DESCRIPTION }) first: number | null,
    @Arg('after', () => String, { nullable: true, description: AFTER_DESCRIPTION }) after: string | null,
  ) {
    const wanted = toResultFilter(filter);
    const request = pageRequest(first, after, DEFAULT_RESULTS);
    return toConnection(await resultPage({ database, tables }, wanted, toResultOrder(orderBy), request), request, () => resultCount({ database, tables }, wanted));
  }

  @FieldResolver(() => JobType, { description: 'The job that yielded it.' })
  job(@Root() result: ResultRow, @Ctx() { loaders }: GraphqlContext) {
    return loaders.jobById.load(result.jobId);
  }

  @Directive('@listSize(assumedSize: 5)')
  @FieldResolver(() => [ArtifactType], { description: 'The files it left.' })
  async artifacts(@Root() result: ResultRow, @Ctx() { loaders, actions }: GraphqlContext): Promise<ArtifactType[]> {
    const job = await loaders.jobById.load(result.jobId);
    const cluster = actions.clusters.get(job?.cluster ?? '');
    return result.artifacts.map((artifact) => ({ ...artifact, uri: fileUri(cluster, artifact.path) }));
  }

  @FieldResolver(() => CheckpointType, { nullable: true, description: "The checkpoint to load, by the experiment's objective; see `Job.bestCheckpoint`." })
  async bestCheckpoint(@Root() result: ResultRow, @Ctx() { loaders }: GraphqlContext) {
    const job = await loaders.jobById.load(result.jobId);
    return job === null ? null : bestCheckpointOf(loaders, job, { metric: null, goal: null });
  }
}

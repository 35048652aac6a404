import { Arg, Ctx, Directive, FieldResolver, Int, Query, Resolver, Root } from 'type-graphql';
import { batchSource, type BatchFilter, type BatchRow } from '../db/read/batches.ts';
import { countRows, readPage } from '../db/read/page.ts';
import { ClusterType } from './cluster.type.ts';
import { AFTER_DESCRIPTION, DEFAULT_PAGE_SIZE, FIRST_DESCRIPTION, LIST_SIZE, pageRequest, toConnection } from './connection.ts';
import type { GraphqlContext } from './context.ts';
import { plainInput } from './input.ts';
import { JobType } from './job.type.ts';
import { clusterOf, existing } from './loaders.ts';
import { SubmissionConnection, SubmissionFilterInput, SubmissionType } from './submission.type.ts';

@Resolver(() => SubmissionType)
export class SubmissionResolver {
  @Directive(LIST_SIZE)
  @Query(() => SubmissionConnection, { description: 'The record of every submission to a cluster, newest first.' })
  async submissions(
    @Ctx() { database }: GraphqlContext,
    @Arg('filter', () => SubmissionFilterInput, { nullable: true, description: 'Which ones; all when left out.' }) filter: SubmissionFilterInput | null,
    @Arg('first', () => Int, { nullable: true, defaultValue: DEFAULT_PAGE_SIZE, description: FIRST_DESCRIPTION }) first: number | null,
    @Arg('after', () => String, { nullable: true, description: AFTER_DESCRIPTION }) after: string | null,
  ) {
    const source = batchSource((filter ? plainInput(filter) : {}) as BatchFilter);
    const request = pageRequest(first, after);
    return toConnection(await readPage(database, source, request), request, () => countRows(database, source));
  }

  @FieldResolver(() => ClusterType, { description: 'Where it was sent.' })
  cluster(@Root() batch: BatchRow, @Ctx() { loaders }: GraphqlContext) {
    return clusterOf(loaders, batch.cluster);
  }

  @FieldResolver(() => String, { description: 'The script, byte for byte as it was sent.' })
  script(@Root() batch: BatchRow, @Ctx() { loaders }: GraphqlContext) {
    return loaders.scriptOfBatch.load(batch.id);
  }

  @FieldResolver(() => [String], { description: 'Names of the tokens that asked for its jobs.' })
  submittedBy(@Root() batch: BatchRow, @Ctx() { loaders }: GraphqlContext) {
    return loaders.submittersOfBatch.load(batch.id);
  }

  @Directive('@listSize(assumedSize: 50)')
  @FieldResolver(() => [JobType], { description: 'The jobs it carries, in task order.' })
  async jobs(@Root() batch: BatchRow, @Ctx() { loaders }: GraphqlContext) {
    return existing(loaders.jobById, await loaders.jobIdsOfBatch.load(batch.id));
  }
}

import { Arg, Ctx, Directive, FieldResolver, ID, Int, Mutation, Query, Resolver, Root } from 'type-graphql';
import { cancelCheckpointRequest } from '../actions/cancel-checkpoint-request.ts';
import { requestCheckpoints, type CheckpointRequestInput } from '../actions/request-checkpoints.ts';
import { checkpointRequestSource, type CheckpointItemRow, type CheckpointRequestRow } from '../db/read/checkpoint-requests.ts';
import { countRows, readPage } from '../db/read/page.ts';
import { isUuid } from '../db/read/uuid.ts';
import type { CheckpointItemState } from '../domain/checkpoint-requests/request.ts';
import { ArchiveCheckpointsInput, CancelCheckpointRequestInput, DigestCheckpointsInput, RestoreCheckpointsInput, toCheckpointRequest } from './checkpoint-request.input.ts';
import {
  CancelCheckpointRequestPayload, CheckpointPlaceEnum, CheckpointRequestConnection, CheckpointRequestCountType, CheckpointRequestItemType, CheckpointRequestPayload, CheckpointRequestStateEnum,
  CheckpointRequestType, KeptCheckpointType,
} from './checkpoint-request.type.ts';
import { CheckpointType } from './checkpoint.type.ts';
import { AFTER_DESCRIPTION, checkedFirst, DEFAULT_PAGE_SIZE, FIRST_DESCRIPTION, LIST_SIZE, pageRequest, toConnection } from './connection.ts';
import type { GraphqlContext } from './context.ts';
import { withUserErrors } from './errors.ts';
import { existing } from './loaders.ts';
import { Long } from './scalars.ts';

const ALL_STATES = Object.keys(CheckpointRequestStateEnum) as CheckpointItemState[];

@Resolver(() => CheckpointRequestType)
export class CheckpointRequestResolver {
  @Directive(LIST_SIZE)
  @Query(() => CheckpointRequestConnection, { description: 'What was asked for on checkpoints, newest first.' })
  async checkpointRequests(
    @Ctx() { database }: GraphqlContext,
    @Arg('first', () => Int, { nullable: true, defaultValue: DEFAULT_PAGE_SIZE, description: FIRST_DESCRIPTION }) first: number | null,
    @Arg('after', () => String, { nullable: true, description: AFTER_DESCRIPTION }) after: string | null,
  ) {
    const source = checkpointRequestSource();
    const request = pageRequest(first, after);
    return toConnection(await readPage(database, source, request), request, () => countRows(database, source));
  }

  @Query(() => CheckpointRequestType, { nullable: true, description: 'A request on checkpoints by its id; null when there is none.' })
  checkpointRequest(@Ctx() { loaders }: GraphqlContext, @Arg('id', () => ID, { description: 'Its id.' }) id: string) {
    return isUuid(id) ? loaders.checkpointRequestById.load(id) : null;
  }

  @FieldResolver(() => CheckpointPlaceEnum, { description: 'Where the work is done.' })
  where(@Root() request: CheckpointRequestRow) {
    return request.place;
  }

  @FieldResolver(() => CheckpointRequestStateEnum, { description: 'PENDING and RUNNING while something is to be done; then FAILED when some checkpoints failed, else CANCELLED when it was withdrawn from some, else DONE.' })
  async state(@Root() { id }: CheckpointRequestRow, @Ctx() { loaders }: GraphqlContext): Promise<CheckpointItemState> {
    const { counts } = await loaders.checkpointRequestProgress.load(id);
    if (counts.RUNNING > 0) return 'RUNNING';
    if (counts.PENDING > 0) return counts.DONE + counts.FAILED > 0 ? 'RUNNING' : 'PENDING';
    return counts.FAILED > 0 ? 'FAILED' : counts.CANCELLED > 0 ? 'CANCELLED' : 'DONE';
  }

  @FieldResolver(() => [CheckpointRequestCountType], { description: 'How many of its checkpoints are in each state.' })
  async counts(@Root() { id }: CheckpointRequestRow, @Ctx() { loaders }: GraphqlContext): Promise<CheckpointRequestCountType[]> {
    const { counts } = await loaders.checkpointRequestProgress.load(id);
    return ALL_STATES.map((state) => ({ state, count: counts[state] }));
  }

  @FieldResolver(() => Long, { description: 'Size of the files of all its checkpoints, in bytes, as it was when it was asked for.' })
  async totalBytes(@Root() { id }: CheckpointRequestRow, @Ctx() { loaders }: GraphqlContext) {
    return (await loaders.checkpointRequestProgress.load(id)).sizeBytes;
  }

  @FieldResolver(() => Long, { description: 'By how many bytes there is less on disk so far; negative for what was restored.' })
  async freedBytes(@Root() { id }: CheckpointRequestRow, @Ctx() { loaders }: GraphqlContext) {
    return (await loaders.checkpointRequestProgress.load(id)).freedBytes;
  }

  @Directive('@listSize(slicingArguments: ["first"], requireOneSlicingArgument: false)')
  @FieldResolver(() => [CheckpointRequestItemType], { description: 'Its checkpoints, by job.' })
  checkpoints(
    @Root() { id }: CheckpointRequestRow, @Ctx() { loaders }: GraphqlContext,
    @Arg('states', () => [CheckpointRequestStateEnum], { nullable: true, description: 'Only those in one of these states.' }) states: CheckpointItemState[] | null,
    @Arg('first', () => Int, { nullable: true, defaultValue: DEFAULT_PAGE_SIZE, description: FIRST_DESCRIPTION }) first: number | null,
  ) {
    return loaders.itemsOfCheckpointRequest.load({ states: states ?? ALL_STATES, limit: checkedFirst(first ?? DEFAULT_PAGE_SIZE) }, id);
  }

  @Mutation(() => CheckpointRequestPayload, {
    description: 'Archives or deletes the checkpoints of jobs that have ended, apart from those that are to be kept. Says how many bytes that frees; `dryRun` says it and does nothing. '
      + 'It is carried out on the cluster bit by bit and survives a crash of anything: an original is removed only after its archive was read back and compared with it.',
  })
  archiveCheckpoints(@Ctx() context: GraphqlContext, @Arg('input', () => ArchiveCheckpointsInput, { description: 'Which, and what is kept.' }) input: ArchiveCheckpointsInput) {
    return asked(context, () => toCheckpointRequest(input, input.action ?? 'ARCHIVE'));
  }

  @Mutation(() => CheckpointRequestPayload, { description: 'Unpacks archived checkpoints to where they were; each archive is removed after it was compared with what was unpacked.' })
  restoreCheckpoints(@Ctx() context: GraphqlContext, @Arg('input', () => RestoreCheckpointsInput, { description: 'Which.' }) input: RestoreCheckpointsInput) {
    return asked(context, () => toCheckpointRequest(input, 'RESTORE'));
  }

  @Mutation(() => CheckpointRequestPayload, { description: 'Computes the SHA-256 of the content of checkpoints, on the cluster (`contentDigest` of the checkpoint).' })
  digestCheckpoints(@Ctx() context: GraphqlContext, @Arg('input', () => DigestCheckpointsInput, { description: 'Which.' }) input: DigestCheckpointsInput) {
    return asked(context, () => toCheckpointRequest(input, 'DIGEST'));
  }

  @Mutation(() => CancelCheckpointRequestPayload, { description: 'Withdraws what is still to be done of a request on checkpoints; what was begun is finished. Where nothing is left to withdraw, a CONFLICT says why.' })
  cancelCheckpointRequest(@Ctx() { actions, loaders }: GraphqlContext, @Arg('input', () => CancelCheckpointRequestInput, { description: 'Which one.' }) { id }: CancelCheckpointRequestInput) {
    return withUserErrors<Omit<CancelCheckpointRequestPayload, 'userErrors'>>({ request: null, cancelledCount: 0 }, async () => {
      const { cancelledCount } = await cancelCheckpointRequest(actions, id);
      return { request: await loaders.checkpointRequestById.load(id), cancelledCount };
    });
  }
}

function asked({ actions }: GraphqlContext, input: () => CheckpointRequestInput): Promise<CheckpointRequestPayload> {
  const nothing = { requestId: null, checkpointIds: [], checkpointCount: 0, bytesToFree: 0, kept: [], keptCounts: [] };
  return withUserErrors<Omit<CheckpointRequestPayload, 'userErrors'>>(nothing, async () => {
    const { requestId, takenIds, takenCount, bytesToFree, kept, keptCounts } = await requestCheckpoints(actions, input());
    return { requestId, checkpointIds: takenIds, checkpointCount: takenCount, bytesToFree, kept, keptCounts };
  });
}

@Resolver(() => CheckpointRequestPayload)
export class CheckpointRequestPayloadResolver {
  @FieldResolver(() => CheckpointRequestType, { nullable: true, description: 'What was recorded; null in a dry run, where nothing is to be done, and when there are errors.' })
  request(@Root() { requestId }: CheckpointRequestPayload, @Ctx() { loaders }: GraphqlContext) {
    return requestId === null ? null : loaders.checkpointRequestById.load(requestId);
  }

  @Directive('@listSize(assumedSize: 50)')
  @FieldResolver(() => [CheckpointType], { description: 'The checkpoints that are meant and not kept: the first 1,000.' })
  checkpoints(@Root() { checkpointIds }: CheckpointRequestPayload, @Ctx() { loaders }: GraphqlContext) {
    return existing(loaders.checkpointById, checkpointIds);
  }
}

@Resolver(() => CheckpointRequestItemType)
export class CheckpointRequestItemResolver {
  @FieldResolver(() => CheckpointType, { description: 'The checkpoint.' })
  checkpoint(@Root() { checkpointId }: CheckpointItemRow, @Ctx() { loaders }: GraphqlContext) {
    return loaders.checkpointById.load(checkpointId);
  }
}

@Resolver(() => KeptCheckpointType)
export class KeptCheckpointResolver {
  @FieldResolver(() => CheckpointType, { description: 'The checkpoint.' })
  checkpoint(@Root() { checkpointId }: KeptCheckpointType, @Ctx() { loaders }: GraphqlContext) {
    return loaders.checkpointById.load(checkpointId);
  }
}

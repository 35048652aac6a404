import { Arg, Ctx, Directive, FieldResolver, Int, Mutation, Query, Resolver, Root } from 'type-graphql';
import { resolveOrphans, type ResolveOrphansInput as ResolveOrphans } from '../actions/resolve-orphans.ts';
import { orphanSource, type OrphanRow } from '../db/read/orphans.ts';
import { countRows, readPage } from '../db/read/page.ts';
import { explainOrphan, possibleOrphanActions, type OrphanKind } from '../domain/orphan.ts';
import { AttemptType } from './attempt.type.ts';
import { ClusterType } from './cluster.type.ts';
import { AFTER_DESCRIPTION, DEFAULT_PAGE_SIZE, FIRST_DESCRIPTION, LIST_SIZE, pageRequest, toConnection } from './connection.ts';
import type { GraphqlContext } from './context.ts';
import { withUserErrors } from './errors.ts';
import { plainInput } from './input.ts';
import { JobType } from './job.type.ts';
import { clusterOf } from './loaders.ts';
import { OrphanActionEnum, OrphanConnection, OrphanKindEnum, OrphanType, ResolveOrphansInput, ResolveOrphansPayload } from './orphan.type.ts';

@Resolver(() => OrphanType)
export class OrphanResolver {
  @Directive(LIST_SIZE)
  @Query(() => OrphanConnection, { description: 'Where clusters and the database disagree at present, oldest first.' })
  async orphans(
    @Ctx() { database }: GraphqlContext,
    @Arg('cluster', () => String, { nullable: true, description: 'Only of this cluster.' }) cluster: string | null,
    @Arg('kind', () => OrphanKindEnum, { nullable: true, description: 'Only of this kind.' }) kind: OrphanKind | null,
    @Arg('includeIgnored', () => Boolean, { nullable: true, defaultValue: false, description: 'Also those that somebody asked to ignore.' }) includeIgnored: boolean | null,
    @Arg('first', () => Int, { nullable: true, defaultValue: DEFAULT_PAGE_SIZE, description: FIRST_DESCRIPTION }) first: number | null,
    @Arg('after', () => String, { nullable: true, description: AFTER_DESCRIPTION }) after: string | null,
  ) {
    const source = orphanSource({ ...(cluster && { clusters: [cluster] }), ...(kind && { kinds: [kind] }), includeIgnored: includeIgnored === true });
    const request = pageRequest(first, after);
    return toConnection(await readPage(database, source, request), request, () => countRows(database, source));
  }

  @FieldResolver(() => ClusterType, { description: 'The cluster in question.' })
  cluster(@Root() orphan: OrphanRow, @Ctx() { loaders }: GraphqlContext) {
    return clusterOf(loaders, orphan.cluster);
  }

  @FieldResolver(() => JobType, { nullable: true, description: 'The job of a missing attempt; null for an unknown job.' })
  job(@Root() orphan: OrphanRow, @Ctx() { loaders }: GraphqlContext) {
    return orphan.jobId === null ? null : loaders.jobById.load(orphan.jobId);
  }

  @FieldResolver(() => AttemptType, { nullable: true, description: 'The missing attempt; null for an unknown job.' })
  attempt(@Root() { jobId, attemptNumber }: OrphanRow, @Ctx() { loaders }: GraphqlContext) {
    return jobId === null || attemptNumber === null ? null : loaders.attemptByNumber.load({ jobId, number: attemptNumber });
  }

  @FieldResolver(() => String, { description: 'What is known of it, in words.' })
  explanation(@Root() orphan: OrphanRow) {
    return explainOrphan(orphan);
  }

  @FieldResolver(() => [OrphanActionEnum], { description: 'What `resolveOrphans` can do about it.' })
  possibleActions(@Root() orphan: OrphanRow) {
    return possibleOrphanActions(orphan);
  }

  @Mutation(() => ResolveOrphansPayload, {
    description: 'Does something about orphans. What concerns a cluster is recorded as a wish and carried out within seconds, as soon as that cluster can be reached; look at `wishProblem` when an orphan stays.',
  })
  resolveOrphans(@Ctx() { actions }: GraphqlContext, @Arg('input', () => ResolveOrphansInput, { description: 'Which orphans, and what is to be done.' }) input: ResolveOrphansInput) {
    return withUserErrors<{ orphans: object[] | null; possibleCount: number }>({ orphans: null, possibleCount: 0 }, async () => {
      const orphans = await resolveOrphans(actions, plainInput(input) as ResolveOrphans);
      return { orphans, possibleCount: orphans.filter(({ possible }) => possible).length };
    });
  }
}

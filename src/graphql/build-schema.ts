/** The executable schema: a Federation v2 subgraph, built from the decorated classes. */
import 'reflect-metadata';
import { buildSubgraphSchema } from '@apollo/subgraph';
import { printSchemaWithDirectives } from '@graphql-tools/utils';
import { lexicographicSortSchema, parse, type GraphQLSchema } from 'graphql';
import { buildSchemaSync, createResolversMap } from 'type-graphql';
import { isUuid } from '../db/read/uuid.ts';
import { AttemptResolver } from './attempt.resolver.ts';
import { CheckpointRequestItemResolver, CheckpointRequestPayloadResolver, CheckpointRequestResolver, KeptCheckpointResolver } from './checkpoint-request.resolver.ts';
import { CheckpointResolver } from './checkpoint.resolver.ts';
import { ClusterResolver } from './cluster.resolver.ts';
import type { GraphqlContext } from './context.ts';
import { EventSubscriptionResolver, JobEventResolver } from './event.resolver.ts';
import { ExperimentResolver } from './experiment.resolver.ts';
import { JobChangesResolver, UnchangedJobResolver } from './job-changes.resolver.ts';
import { JobResolver } from './job.resolver.ts';
import type { Loaders } from './loaders.ts';
import { MetricAppendResolver, MetricPointResolver, MetricSeriesResolver } from './metric.resolver.ts';
import { OrphanResolver } from './orphan.resolver.ts';
import { ProjectResolver } from './project.resolver.ts';
import { RecordResolver } from './record.resolver.ts';
import { ResultResolver } from './result.resolver.ts';
import { DateTime } from './scalars.ts';
import { SubmissionResolver } from './submission.resolver.ts';
import { DuplicateJobResolver, PlannedJobResolver, SubmitResolver } from './submit.resolver.ts';
import { LeaderboardRowResolver, SweepResolver } from './sweep.resolver.ts';
import { TokenResolver } from './token.resolver.ts';
import { ViewerResolver } from './viewer.resolver.ts';

/** 2.9 is the first version with @listSize. */
const FEDERATION_LINK = `extend schema
  @link(url: "https://specs.apollo.dev/federation/v2.9", import: ["@key", "@listSize", "@shareable"])
`;

/** The `_Any` scalar lets through whatever a gateway sends. */
interface Reference {
  id?: unknown;
  project?: unknown;
  name?: unknown;
}

/** The subgraph, ready to execute. */
export function buildSubgraph(): GraphQLSchema {
  const base = buildBase();
  const resolvers = createResolversMap(base) as Record<string, Record<string, unknown>>;
  for (const [type, resolveReference] of Object.entries(referenceResolvers())) {
    resolvers[type] = { ...resolvers[type], __resolveReference: resolveReference };
  }
  return buildSubgraphSchema([{ typeDefs: parse(sdlOf(base)), resolvers: resolvers as never }]);
}

/** The schema as a document: sorted, with the federation directives and their link. */
export function subgraphSdl(): string {
  return sdlOf(buildBase());
}

function sdlOf(base: GraphQLSchema): string {
  return `${FEDERATION_LINK}\n${printSchemaWithDirectives(lexicographicSortSchema(base))}\n`;
}

function buildBase(): GraphQLSchema {
  return buildSchemaSync({
    resolvers: [
      AttemptResolver, CheckpointRequestItemResolver, CheckpointRequestPayloadResolver, CheckpointRequestResolver, KeptCheckpointResolver, CheckpointResolver, ClusterResolver, DuplicateJobResolver, EventSubscriptionResolver, ExperimentResolver,
      JobChangesResolver, JobEventResolver, JobResolver, LeaderboardRowResolver, MetricAppendResolver, MetricPointResolver,
      MetricSeriesResolver, OrphanResolver, PlannedJobResolver, ProjectResolver, RecordResolver, ResultResolver, SubmissionResolver, SubmitResolver, SweepResolver,
      TokenResolver, UnchangedJobResolver, ViewerResolver,
    ],
    scalarsMap: [{ type: Date, scalar: DateTime }],
    validate: false,
    // Every subscription brings its own `subscribe`, but the builder insists on a pubSub as soon as there is one.
    pubSub: { publish: () => undefined, subscribe: () => { throw new Error('every subscription brings its own source'); } },
  });
}

/** How a gateway's references become rows: through the loaders, so that a list of them is one statement. */
function referenceResolvers(): Record<string, (reference: Reference, context: GraphqlContext) => unknown> {
  const byId = (pick: (loaders: Loaders) => { load(id: string): Promise<unknown> }) => ({ id }: Reference, { loaders }: GraphqlContext) =>
    typeof id === 'string' && isUuid(id) ? pick(loaders).load(id) : null;
  const experimentById = byId((loaders) => loaders.experimentById);
  return {
    Experiment: (reference, context) => {
      const { id, project, name } = reference;
      return id === undefined && typeof project === 'string' && typeof name === 'string'
        ? context.loaders.experimentByName.load({ project, name }) : experimentById(reference, context);
    },
    Sweep: byId((loaders) => loaders.sweepById),
    Job: byId((loaders) => loaders.jobById),
    Attempt: byId((loaders) => loaders.attemptById),
    Checkpoint: byId((loaders) => loaders.checkpointById),
    CheckpointRequest: byId((loaders) => loaders.checkpointRequestById),
    Cluster: ({ name }, { loaders }) => (typeof name !== 'string' ? null : loaders.clusterByName.load(name)),
  };
}

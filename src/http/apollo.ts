/** GraphQL over HTTP: Apollo Server with our limits, counts and error words. */
import { ApolloServer, HeaderMap } from '@apollo/server';
import type { ApolloServerPlugin } from '@apollo/server';
import {
  ApolloServerPluginCacheControlDisabled, ApolloServerPluginInlineTraceDisabled, ApolloServerPluginLandingPageDisabled, ApolloServerPluginUsageReportingDisabled,
} from '@apollo/server/plugin/disabled';
import { GraphQLError } from 'graphql';
import type { Logger } from 'pino';
import type { GraphqlContext } from '../graphql/context.ts';
import { formatGraphqlError } from '../graphql/errors.ts';
import { statusOf } from './answers.ts';
import type { HttpMetrics } from './metrics.ts';
import { MAX_DOCUMENT_TOKENS } from './operations.ts';
import type { Operations } from './operations.ts';

const HOW_TO_SUBSCRIBE = 'subscriptions need Accept: text/event-stream or a WebSocket';

function limitsPlugin(operations: Operations): ApolloServerPlugin<GraphqlContext> {
  return {
    async requestDidStart() {
      return {
        async responseForOperation({ document, operation, request, operationName, contextValue }) {
          const errors = operation?.operation === 'subscription' ? [new GraphQLError(HOW_TO_SUBSCRIBE, { extensions: { code: 'BAD_USER_INPUT' } })]
            : operations.check(document, { query: '', operationName, variables: request.variables ?? null }, contextValue.viewer);
          if (errors.length === 0) return null;
          return { http: { status: 400, headers: new HeaderMap() }, body: { kind: 'single', singleResult: { errors: errors.map(operations.format) } } };
        },
      };
    },
  };
}

/** An answer that holds nothing because the database is away says so with its status, too, for proxies and probes that read no bodies. */
const unavailablePlugin: ApolloServerPlugin<GraphqlContext> = {
  async requestDidStart() {
    return {
      async willSendResponse({ response: { body, http } }) {
        if (body.kind !== 'single') return;
        const { data, errors = [] } = body.singleResult;
        const holdsNothing = Object.values(data ?? {}).every((value) => value === null);
        if (holdsNothing && errors.length > 0 && errors.every(({ extensions }) => extensions?.['code'] === 'DATABASE_UNAVAILABLE')) http.status = statusOf('DATABASE_UNAVAILABLE');
      },
    };
  },
};

function countPlugin(metrics: HttpMetrics): ApolloServerPlugin<GraphqlContext> {
  return {
    async requestDidStart() {
      return {
        async willSendResponse({ operation, response }) {
          const failed = response.body.kind === 'single' && response.body.singleResult.errors;
          metrics.operations.inc({ protocol: 'http', type: operation?.operation ?? 'none', outcome: failed ? 'errors' : 'ok' });
        },
      };
    },
  };
}

export function createApollo(operations: Operations, metrics: HttpMetrics, logger: Logger, onBug: (error: unknown) => void): ApolloServer<GraphqlContext> {
  return new ApolloServer<GraphqlContext>({
    schema: operations.schema,
    introspection: true,
    includeStacktraceInErrorResponses: false,
    persistedQueries: false,
    stopOnTerminationSignals: false,
    parseOptions: { maxTokens: MAX_DOCUMENT_TOKENS },
    // A page of another site cannot set this header without asking first, and every request must have it.
    csrfPrevention: { requestHeaders: ['authorization'] },
    formatError: (formatted, error) => formatGraphqlError(formatted, error, operations.schema, onBug),
    logger,
    plugins: [
      ApolloServerPluginLandingPageDisabled(), ApolloServerPluginUsageReportingDisabled(),
      // Both wrap every field of every answer: the one for cache hints that we have none of, the other for Apollo's own gateway.
      ApolloServerPluginCacheControlDisabled(), ApolloServerPluginInlineTraceDisabled(),
      limitsPlugin(operations), unavailablePlugin, countPlugin(metrics),
    ],
  });
}

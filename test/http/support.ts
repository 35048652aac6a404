/** The real HTTP server with a small schema of its own, on a database of its own. */
import 'reflect-metadata';
import { EventEmitter, on, once } from 'node:events';
import { GraphQLBoolean, GraphQLFloat, GraphQLInt, GraphQLNonNull, GraphQLObjectType, GraphQLSchema, GraphQLString } from 'graphql';
import { GraphQLJSON } from 'graphql-scalars';
import { Registry } from 'prom-client';
import { createToken } from '../../src/actions/create-token.ts';
import { openFeed } from '../../src/db/feed.ts';
import type { GraphqlContext } from '../../src/graphql/context.ts';
import { createHttpServer } from '../../src/http/server.ts';
import type { HttpServerOptions } from '../../src/http/server.ts';
import { createLogger } from '../../src/logger.ts';
import { testDatabase } from '../support/database.ts';

/** What the resolvers of the test schema do is told and asked here. */
export class Signals extends EventEmitter {
  started = 0;
  /** Results of `ticks`. */
  produced = 0;
  ended = 0;
}

async function* ticks(signals: Signals, count: number | null): AsyncGenerator<{ ticks: number }> {
  for (let tick = 0; count === null || tick < count; tick += 1) {
    signals.produced += 1;
    yield { ticks: tick };
  }
  signals.ended += 1;
}

/** Ticks when told to, and ends at once when it is asked to. */
function told(signals: Signals): AsyncIterableIterator<{ told: number }> {
  const stop = new AbortController();
  const source = on(signals, 'tick', { signal: stop.signal });
  signals.started += 1;
  signals.emit('started');
  return {
    async next() {
      const { value } = await source.next().catch(() => ({ value: undefined }));
      return value ? { done: false, value: { told: (value as [number])[0] } } : { done: true, value: undefined };
    },
    async return() {
      if (!stop.signal.aborted) {
        stop.abort();
        signals.ended += 1;
        signals.emit('ended');
      }
      return { done: true, value: undefined };
    },
    [Symbol.asyncIterator]() { return this; },
  };
}

/** Fails as the driver does. */
function databaseIsAway(): never {
  throw Object.assign(new Error('connect ECONNREFUSED 10.0.0.7:5432'), { code: 'ECONNREFUSED' });
}

const required = (type: typeof GraphQLInt) => new GraphQLNonNull(type);

function testSchema(signals: Signals): GraphQLSchema {
  const node: GraphQLObjectType = new GraphQLObjectType({ name: 'Node', fields: () => ({ node: { type: node, resolve: () => ({}) }, number: { type: GraphQLInt, resolve: () => 7 } }) });
  return new GraphQLSchema({
    query: new GraphQLObjectType<unknown, GraphqlContext>({
      name: 'Query',
      fields: {
        whoami: { type: GraphQLString, resolve: (_root, _args, { viewer }) => viewer?.tokenName },
        echo: { type: GraphQLJSON, args: { value: { type: GraphQLJSON } }, resolve: (_root, { value }) => value },
        number: { type: GraphQLFloat, args: { value: { type: GraphQLFloat } }, resolve: (_root, { value }) => value },
        bug: { type: GraphQLString, resolve: () => { throw new Error('select secret from tokens'); } },
        gone: { type: GraphQLString, resolve: databaseIsAway },
        node: { type: node, resolve: () => ({}) },
        waits: { type: GraphQLBoolean, resolve: async () => { signals.emit('waiting'); await once(signals, 'go'); return true; } },
      },
    }),
    mutation: new GraphQLObjectType({ name: 'Mutation', fields: { set: { type: GraphQLInt, args: { value: { type: GraphQLInt } }, resolve: (_root, { value }) => value } } }),
    subscription: new GraphQLObjectType({
      name: 'Subscription',
      fields: {
        ticks: { type: required(GraphQLInt), args: { count: { type: GraphQLInt } }, subscribe: (_root, { count }) => ticks(signals, count ?? null) },
        away: {
          type: GraphQLInt, subscribe: () => ticks(signals, null),
          resolve: ({ ticks: tick }: { ticks: number }, _args: unknown, context: GraphqlContext) => {
            context.resumeAfter = String(40 + tick);
            return tick === 2 ? databaseIsAway() : tick;
          },
        },
        told: { type: required(GraphQLInt), subscribe: () => told(signals) },
        broken: { type: GraphQLInt, subscribe: async function* () { yield { broken: 1 }; throw new Error('select secret from events'); } },
      },
    }),
  });
}

export interface TestHttp {
  url: string;
  graphqlUrl: string;
  /** Names of tokens: `writer` may write, `reader` may read. */
  tokens: { writer: string; reader: string };
  database: HttpServerOptions['database'];
  signals: Signals;
  /** Every line that was logged. */
  log: Record<string, unknown>[];
  /** POSTs an operation with the writer's token, or another. */
  post(body: unknown, headers?: Record<string, string>): Promise<{ status: number; headers: Headers; json: any }>;
  stop(): Promise<void>;
  close(): Promise<void>;
}

export async function startHttp(overrides: Partial<HttpServerOptions> = {}): Promise<TestHttp> {
  const { database, pool, drop } = await testDatabase();
  const { token: writer } = await createToken({ database }, { name: 'writer', scopes: ['read', 'write'] });
  const { token: reader } = await createToken({ database }, { name: 'reader', scopes: ['read'] });
  const signals = new Signals().setMaxListeners(0);
  const log: Record<string, unknown>[] = [];
  const logger = createLogger('debug', { write: (line) => void log.push(JSON.parse(line) as Record<string, unknown>) });
  const feed = await openFeed({ database, pool }, logger);
  const server = await createHttpServer({
    host: '127.0.0.1', port: 0, allowedOrigins: ['https://lab.example.org'], maxRequestBytes: 100_000,
    queryLimits: { maxDepth: 15, maxCost: 100_000 },
    database, feed, schema: testSchema(signals), logger, registry: new Registry(),
    actionContext: (tokenName) => ({
      database, tokenName, clusters: new Map(), defaultCluster: 'local', maxArraySizeOf: async () => null, limits: { maxJobsPerSweep: 10, maxConfigBytes: 1000 },
    }),
    failureRules: [],
    readinessChecks: { database: async () => null },
    ...overrides,
  });
  const { url } = await server.listen();
  const graphqlUrl = `${url}/graphql`;
  return {
    url, graphqlUrl, tokens: { writer, reader }, database, signals, log,
    async post(body, headers = {}) {
      const response = await fetch(graphqlUrl, {
        method: 'POST', body: typeof body === 'string' ? body : JSON.stringify(body),
        headers: { 'content-type': 'application/json', authorization: `Bearer ${writer}`, ...headers },
      });
      return { status: response.status, headers: response.headers, json: await response.json() };
    },
    close: () => server.close(),
    async stop() {
      await server.close();
      await feed.close();
      await drop();
    },
  };
}

/** Waits for a condition to become true. */
export async function eventually(condition: () => boolean, what: string, deadlineMs = 5_000): Promise<void> {
  const end = Date.now() + deadlineMs;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`${what} did not happen within ${deadlineMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

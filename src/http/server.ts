/** The API's server: GraphQL over HTTP, WebSocket and Server-Sent Events, the GraphiQL page, health and metrics. */
import { randomUUID } from 'node:crypto';
import type { OutgoingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import fastifyCors from '@fastify/cors';
import { fastifyApolloHandler } from '@as-integrations/fastify';
import Fastify from 'fastify';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { GraphQLSchema } from 'graphql';
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import type { Database } from '../db/database.ts';
import { findToken } from '../db/read/tokens.ts';
import { touchToken } from '../db/write/tokens.ts';
import { UserError } from '../domain/errors.ts';
import { JobTables } from '../db/read/job-tables.ts';
import { createGraphqlContext } from '../graphql/context.ts';
import type { GraphqlContext } from '../graphql/context.ts';
import type { OperationLimits } from '../graphql/limits.ts';
import { createApollo } from './apollo.ts';
import { bearerToken, createAuthenticator } from './authentication.ts';
import type { Authenticator, Caller } from './authentication.ts';
import { HOW_TO_SEND_A_TOKEN } from './answers.ts';
import { createEventStreams } from './event-stream.ts';
import { parseExactJson } from './exact-json.ts';
import { serveExport } from './export/serve-export.ts';
import { answerFailures } from './failures.ts';
import { sendPage, serveGraphiqlFiles, wantsPage } from './graphiql.ts';
import { serveHealth } from './health.ts';
import { serveIngest } from './ingest/serve-ingest.ts';
import type { ReadinessChecks } from './health.ts';
import { createHttpMetrics } from './metrics.ts';
import type { HttpMetrics } from './metrics.ts';
import { createOpenConnections } from './open-connections.ts';
import { createOperations } from './operations.ts';
import { serveWebSockets } from './websocket.ts';

/** Requests in flight may take this long after a stop was asked for; then their connections are cut. */
const DRAIN_MS = 10_000;
/** How soon a connection is let go whose last request was finished during the drain. */
const IDLE_CHECK_MS = 50;
const WEB_SOCKET_PATHS = ['/graphql', '/ws'];

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Answers without a token. */
    open?: boolean;
  }
  interface FastifyRequest {
    caller: Caller | null;
  }
}

export interface HttpServerOptions {
  host: string;
  /** 0 lets the system choose. */
  port: number;
  /** Origins besides our own whose pages may call. */
  allowedOrigins: readonly string[];
  maxRequestBytes: number;
  queryLimits: OperationLimits;
  database: Database;
  feed: GraphqlContext['feed'];
  schema: GraphQLSchema;
  /** The context of the writes of one caller. */
  actionContext: (tokenName: string) => GraphqlContext['actions'];
  /** How the site recognises failures, beside the built-in rules. */
  failureRules: GraphqlContext['failureRules'];
  readinessChecks: ReadinessChecks;
  /** Where metrics are registered and what `/metrics` shows. */
  registry: Registry;
  logger: Logger;
}

export interface HttpServer {
  /** Takes the port. Answers the address without a path: `http://127.0.0.1:4000`. */
  listen(): Promise<{ url: string }>;
  /** Ends subscriptions politely, finishes requests in flight (at most 10 s) and frees the port. */
  close(): Promise<void>;
}

async function authenticate(request: FastifyRequest, authenticator: Authenticator): Promise<void> {
  if (request.routeOptions.config.open || (request.routeOptions.url === '/graphql' && wantsPage(request))) return;
  const { authorization } = request.headers;
  const token = bearerToken(authorization);
  request.caller = token === null ? null : await authenticator.byToken(token);
  if (request.caller) return;
  const fault = authorization === undefined ? 'a token is needed' : token === null ? 'the Authorization header holds no bearer token' : 'the token is not known or was revoked';
  throw UserError.of('UNAUTHENTICATED', `${fault}; ${HOW_TO_SEND_A_TOKEN}`);
}

/** JSON is read exactly, in the body and in the variables of a GET; no other body is taken. */
function readBodies(server: FastifyInstance): void {
  server.removeAllContentTypeParsers();
  server.addContentTypeParser('application/json', { parseAs: 'string' }, async (_request: FastifyRequest, body: string) => parseExactJson(body));
  server.addHook('preValidation', async ({ query }) => {
    const variables = (query as Record<string, unknown> | undefined)?.['variables'];
    if (typeof variables === 'string' && variables !== '') parseExactJson(variables);
  });
}

/** One line and one measurement a request. The query string stays out: it may hold values of variables. */
function recordRequests(server: FastifyInstance, metrics: HttpMetrics, logger: Logger): void {
  server.addHook('onResponse', async (request, reply) => {
    const { method, routeOptions: { url = 'unmatched', config } } = request;
    metrics.requestSeconds.observe({ method, route: url, status: reply.statusCode }, reply.elapsedTime / 1000);
    logger[config.open ? 'debug' : 'info']({
      requestId: request.id, method, path: request.url.split('?', 1)[0], status: reply.statusCode,
      durationMs: Math.round(reply.elapsedTime), tokenName: request.caller?.tokenName,
    }, 'request');
  });
}

async function setHeaders(request: FastifyRequest, reply: FastifyReply): Promise<void> {
  reply.headers({ 'x-request-id': request.id, 'x-content-type-options': 'nosniff', 'referrer-policy': 'no-referrer', 'x-frame-options': 'DENY' });
}

async function serveGraphql(server: FastifyInstance, options: HttpServerOptions, metrics: HttpMetrics, authenticator: Authenticator) {
  const { logger, database, feed, schema, failureRules, queryLimits: limits } = options;
  const onBug = (error: unknown) => logger.error({ err: error }, 'an operation failed by a fault of ours');
  const tables = new JobTables(database);
  const operations = createOperations({
    schema, limits, metrics, onBug,
    createContext: (viewer) => createGraphqlContext({ database, tables, feed, viewer, failureRules, actions: options.actionContext(viewer.tokenName) }),
  });
  const connections = createOpenConnections(authenticator, logger);
  const apollo = createApollo(operations, metrics, logger, onBug);
  await apollo.start();
  // Never null here: only the page answers without a caller.
  const answer = fastifyApolloHandler(apollo, { context: async (request: FastifyRequest) => operations.createContext(request.caller as Caller) });
  const serveEventStream = createEventStreams(operations, connections, logger);
  const stream = async (request: FastifyRequest, reply: FastifyReply) => {
    reply.hijack();
    await serveEventStream({
      method: request.method, url: request.url, headers: request.headers, body: request.body,
      caller: request.caller as Caller, answerHeaders: reply.getHeaders() as OutgoingHttpHeaders, response: reply.raw,
    });
  };
  server.route({
    method: ['GET', 'POST'], url: '/graphql',
    handler: (request, reply) => {
      if (wantsPage(request)) return sendPage(reply);
      if (request.headers.accept?.includes('text/event-stream')) return stream(request, reply);
      reply.header('cache-control', 'no-store');
      return answer.call(server, request, reply);
    },
  });
  server.route({ method: ['GET', 'POST'], url: '/graphql/stream', handler: stream });
  const webSockets = serveWebSockets(server.server, {
    paths: WEB_SOCKET_PATHS, allowedOrigins: options.allowedOrigins, maxMessageBytes: options.maxRequestBytes, authenticator, connections, operations, logger,
  });
  return { apollo, connections, webSockets };
}

/** Builds the server; nothing is reachable before `listen`. */
export async function createHttpServer(options: HttpServerOptions): Promise<HttpServer> {
  const { logger, database, allowedOrigins, maxRequestBytes } = options;
  const metrics = createHttpMetrics(options.registry);
  const authenticator = createAuthenticator(async (sha256) => {
    const token = await findToken(database, sha256);
    if (token === null) return null;
    await touchToken(database, token.id);
    return { tokenName: token.name, scopes: token.scopes };
  });
  const server = Fastify({ logger: false, bodyLimit: maxRequestBytes, genReqId: () => randomUUID(), forceCloseConnections: 'idle' });
  server.decorateRequest('caller', null);
  server.addHook('onRequest', setHeaders);
  if (allowedOrigins.length > 0) {
    await server.register(fastifyCors, { origin: [...allowedOrigins], methods: ['GET', 'POST'], exposedHeaders: ['x-request-id'], maxAge: 600 });
  }
  server.addHook('onRequest', (request) => authenticate(request, authenticator));
  recordRequests(server, metrics, logger);
  readBodies(server);
  answerFailures(server, { logger, maxRequestBytes });
  await serveGraphiqlFiles(server);
  serveHealth(server, options.readinessChecks, options.registry);
  await serveIngest(server, options);
  serveExport(server, options);
  const { apollo, connections, webSockets } = await serveGraphql(server, options, metrics, authenticator);

  return {
    async listen() {
      await server.listen({ host: options.host, port: options.port });
      const { address, family, port } = server.server.address() as AddressInfo;
      return { url: `http://${family === 'IPv6' ? `[${address}]` : address}:${port}` };
    },
    async close() {
      connections.close();
      const letGo = setInterval(() => server.server.closeIdleConnections(), IDLE_CHECK_MS);
      const cut = setTimeout(() => {
        logger.warn({ drainMs: DRAIN_MS }, 'requests were still in flight at the end of the drain; their connections are cut');
        webSockets.terminate();
        server.server.closeAllConnections();
      }, DRAIN_MS);
      await Promise.all([server.close(), webSockets.ended()]);
      clearInterval(letGo);
      clearTimeout(cut);
      await apollo.stop();
    },
  };
}

/** GraphQL over WebSocket: the graphql-transport-ws protocol of graphql-ws, on sockets of ws. */
import type { IncomingMessage, Server as HttpServer } from 'node:http';
import type { Duplex } from 'node:stream';
import { CloseCode, MessageType, handleProtocols, makeServer } from 'graphql-ws';
import type { Context, Server } from 'graphql-ws';
import { GraphQLError } from 'graphql';
import type { Logger } from 'pino';
import { WebSocketServer } from 'ws';
import type { WebSocket } from 'ws';
import { asDatabaseError } from '../db/errors.ts';
import { UserError } from '../domain/errors.ts';
import { HOW_TO_SEND_A_TOKEN, errorBody, statusOf } from './answers.ts';
import { bearerToken } from './authentication.ts';
import type { Authenticator, Caller } from './authentication.ts';
import { parseExactJson } from './exact-json.ts';
import type { EndReason, OpenConnections } from './open-connections.ts';
import type { Operations } from './operations.ts';
import { isAllowedOrigin } from './origin.ts';

/** A ping each; a peer that has not answered by the next one is gone. */
const KEEP_ALIVE_MS = 12_000;
const CONNECTION_INIT_MS = 10_000;
/** Operations that one socket may have open at once. */
export const MAX_OPERATIONS_PER_SOCKET = 100;
/** The protocol's codes and one of RFC 6455. */
const END_CODES: Record<EndReason, [code: number, words: string]> = {
  revoked: [CloseCode.Forbidden, 'Forbidden: the token was revoked'],
  stopping: [1001, 'Going away'],
};

export interface WebSocketOptions {
  /** Where upgrades are taken. */
  paths: readonly string[];
  allowedOrigins: readonly string[];
  maxMessageBytes: number;
  authenticator: Authenticator;
  connections: OpenConnections;
  operations: Operations;
  logger: Logger;
}

interface Extra {
  socket: WebSocket;
  /** Who the upgrade's header or `connection_init` says it is. */
  caller: Caller | null;
}

type Connection = Context<Record<string, unknown> | undefined, Extra>;

/** Answers an upgrade with an HTTP error and hangs up. */
function refuse(socket: Duplex, status: number, code: Parameters<typeof errorBody>[0], message: string): void {
  const body = JSON.stringify(errorBody(code, message));
  socket.end(`HTTP/1.1 ${status} Refused\r\nConnection: close\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
}

function tokenOfInit({ connectionParams }: Connection): string | null {
  const authorization = connectionParams?.['authorization'] ?? connectionParams?.['Authorization'];
  const token = connectionParams?.['token'];
  return bearerToken(authorization) ?? (typeof token === 'string' && token !== '' ? token : null);
}

function protocolServer({ authenticator, operations }: WebSocketOptions): Server<Extra> {
  return makeServer<Record<string, unknown> | undefined, Extra>({
    connectionInitWaitTimeout: CONNECTION_INIT_MS,
    async onConnect(connection) {
      const { extra } = connection;
      const token = tokenOfInit(connection);
      if (token !== null) extra.caller = await authenticator.byToken(token);
      if (extra.caller) return true;
      // The engine's own close with 4403 comes too late after these, and says less. A reason has 123 bytes at most.
      if (token === null) extra.socket.close(CloseCode.Unauthorized, 'Unauthorized: send "Authorization: Bearer <token>", or {"token": "<token>"} in connection_init');
      else extra.socket.close(CloseCode.Forbidden, 'Forbidden: the token is not known or was revoked');
      return false;
    },
    onSubscribe({ extra, subscriptions }, _id, payload) {
      if (!extra.caller) return [new GraphQLError(`no token; ${HOW_TO_SEND_A_TOKEN}`, { extensions: { code: 'UNAUTHENTICATED' } })];
      if (Object.keys(subscriptions).length > MAX_OPERATIONS_PER_SOCKET) {
        return [new GraphQLError(`this connection has ${MAX_OPERATIONS_PER_SOCKET} operations open, which is the most; complete one or open another connection`, { extensions: { code: 'LIMIT_EXCEEDED' } })];
      }
      return operations.prepare(payload, extra.caller);
    },
    execute: (args) => operations.run('websocket', args),
    subscribe: (args) => operations.run('websocket', args),
    onNext: (_connection, _id, _payload, _args, result) => operations.formatResult(result),
    onError: (_connection, _id, _payload, errors) => errors.map(operations.format),
  });
}

/** Ends the socket when the other side stops answering pings. */
function keepAlive(socket: WebSocket): void {
  let answered = true;
  socket.on('pong', () => { answered = true; });
  const timer = setInterval(() => {
    if (!answered) socket.terminate();
    answered = false;
    socket.ping();
  }, KEEP_ALIVE_MS);
  socket.once('close', () => clearInterval(timer));
}

/** Answers a subscribe message with a number in it that does not survive; false when that is not what is wrong with it. */
function refuseInexactNumber(socket: WebSocket, data: string): boolean {
  try {
    parseExactJson(data);
    return false;
  } catch (error) {
    // Broken JSON is the engine's to answer.
    if (!(error instanceof UserError)) return false;
    const { id } = JSON.parse(data) as { id?: unknown };
    socket.send(JSON.stringify({ id, type: MessageType.Error, payload: errorBody(error.code, error.message).errors }));
    return true;
  }
}

/** Serves a socket; resolves when it is closed and its operations have ended. */
async function serve(socket: WebSocket, caller: Caller | null, engine: Server<Extra>, { connections, logger }: WebSocketOptions): Promise<void> {
  const extra: Extra = { socket, caller };
  const remove = connections.add({
    tokenSha256: () => extra.caller?.sha256 ?? null,
    end: (reason) => socket.close(...END_CODES[reason]),
  });
  if (!remove) {
    socket.close(1013, 'Try again later: too many connections');
    return;
  }
  socket.on('error', (error) => logger.info({ err: error }, 'a websocket broke'));
  keepAlive(socket);
  const closed = engine.opened({
    protocol: socket.protocol,
    send: (data) => new Promise((resolve, reject) => {
      if (socket.readyState !== socket.OPEN) return resolve();
      socket.send(data, (error) => (error ? reject(error) : resolve()));
    }),
    close: (code, reason) => socket.close(code, reason),
    onMessage: (take) => socket.on('message', (message) => {
      const data = String(message);
      if (refuseInexactNumber(socket, data)) return;
      take(data).catch((error: unknown) => {
        if (socket.readyState !== socket.OPEN) return;
        const known = asDatabaseError(error);
        // A code after which clients connect again by themselves.
        if (known?.code === 'DATABASE_UNAVAILABLE') return socket.close(1013, `Try again later: ${known.code}: the database cannot be reached`);
        logger.error({ err: error }, 'a websocket message could not be handled');
        socket.close(CloseCode.InternalServerError, 'Internal server error');
      });
    }),
  }, extra);
  const [code, reason] = await new Promise<[number, string]>((resolve) => { socket.once('close', (...end) => resolve([end[0], String(end[1])])); });
  remove();
  await closed(code, reason).catch((error: unknown) => logger.error({ err: error }, 'a websocket could not be cleaned up'));
}

export interface WebSockets {
  /** Cuts what `connections.close()` has not ended. */
  terminate(): void;
  /** Resolves when every socket is closed and every operation on one has ended. */
  ended(): Promise<void>;
}

/** Takes WebSocket upgrades on the server. */
export function serveWebSockets(server: HttpServer, options: WebSocketOptions): WebSockets {
  const sockets = new WebSocketServer({ noServer: true, maxPayload: options.maxMessageBytes, handleProtocols });
  const engine = protocolServer(options);
  const serving = new Set<Promise<void>>();

  function keep(work: Promise<void>): void {
    serving.add(work);
    void work.finally(() => serving.delete(work));
  }

  async function accept(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const { pathname } = new URL(request.url ?? '/', 'http://localhost');
    if (!options.paths.includes(pathname)) return refuse(socket, 404, 'NOT_FOUND', `WebSockets are served at ${options.paths.join(' and ')}`);
    if (!isAllowedOrigin(request, options.allowedOrigins)) {
      return refuse(socket, 403, 'FORBIDDEN', `pages of ${request.headers.origin} may not connect; server.allowedOrigins in expgraph.yaml lists the origins that may`);
    }
    const { authorization } = request.headers;
    const token = bearerToken(authorization);
    const caller = token === null ? null : await options.authenticator.byToken(token);
    if (authorization !== undefined && !caller) return refuse(socket, 401, 'UNAUTHENTICATED', `the token is not known or was revoked; ${HOW_TO_SEND_A_TOKEN}`);
    sockets.handleUpgrade(request, socket, head, (webSocket) => keep(serve(webSocket, caller, engine, options)));
  }

  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on('error', () => socket.destroy());
    accept(request, socket, head).catch((error: unknown) => {
      const known = asDatabaseError(error);
      if (!known) options.logger.error({ err: error }, 'a websocket could not be accepted');
      refuse(socket, known ? statusOf(known.code) : 500, known?.code ?? 'INTERNAL_SERVER_ERROR', known?.message ?? 'Internal server error');
    });
  });
  return {
    terminate() {
      for (const socket of sockets.clients) socket.terminate();
    },
    async ended() {
      await Promise.all(serving);
    },
  };
}

/** GraphQL over Server-Sent Events: the distinct connections mode of graphql-sse, one request an operation, readable with curl -N. */
import type { IncomingHttpHeaders, OutgoingHttpHeaders, ServerResponse } from 'node:http';
import { createHandler } from 'graphql-sse';
import { GraphQLError } from 'graphql';
import type { ExecutionResult } from 'graphql';
import type { Response } from 'graphql-sse';
import type { Logger } from 'pino';
import { errorBody } from './answers.ts';
import type { Caller } from './authentication.ts';
import type { EndReason, OpenConnections } from './open-connections.ts';
import type { Operations } from './operations.ts';

/** Results handed to a slow reader before the subscription waits for it. */
const MAX_UNWRITTEN_RESULTS = 16;
const LAST_WORDS: Record<EndReason, ReturnType<typeof errorBody>> = {
  revoked: errorBody('UNAUTHENTICATED', 'the token was revoked'),
  stopping: errorBody('SERVER_STOPPING', 'the server is stopping; connect again, with the last cursor as `after`'),
};

export interface EventStreamRequest {
  method: string;
  url: string;
  headers: IncomingHttpHeaders;
  /** Parsed already. */
  body: unknown;
  caller: Caller;
  /** Headers that every answer carries. */
  answerHeaders: OutgoingHttpHeaders;
  response: ServerResponse;
}

/** Counts the results on their way to one reader, so that producing them can wait for it. */
class Backlog {
  #unwritten = 0;
  #closed = false;
  #wake: (() => void)[] = [];

  /** Takes one more; resolves when the reader keeps up, or is gone. */
  async add(): Promise<void> {
    this.#unwritten += 1;
    while (this.#unwritten > MAX_UNWRITTEN_RESULTS && !this.#closed) {
      await new Promise<void>((resolve) => this.#wake.push(resolve));
    }
  }

  written(): void {
    this.#unwritten -= 1;
    this.#wakeAll();
  }

  close(): void {
    this.#closed = true;
    this.#wakeAll();
  }

  #wakeAll(): void {
    for (const resolve of this.#wake.splice(0)) resolve();
  }
}

/** False when the reader is gone. */
function write(response: ServerResponse, chunk: string): Promise<boolean> {
  if (!response.writable || response.destroyed) return Promise.resolve(false);
  return new Promise((resolve) => {
    const done = (ok: boolean) => { response.off('close', onClose); resolve(ok); };
    const onClose = () => done(false);
    response.once('close', onClose);
    response.write(chunk, (error) => done(!error));
  });
}

function lastEvents(answer: object): string {
  return `event: next\ndata: ${JSON.stringify(answer)}\n\nevent: complete\ndata:\n\n`;
}

function answerJson({ response, answerHeaders }: EventStreamRequest, status: number, body: object): void {
  response.writeHead(status, { ...answerHeaders, 'content-type': 'application/json; charset=utf-8' }).end(JSON.stringify(body));
}

/** Serves one request; resolves when the stream is over. */
export type ServeEventStream = (request: EventStreamRequest) => Promise<void>;

function createStreamHandler(operations: Operations) {
  return createHandler<Caller, { backlog: Backlog }>({
    // No token for the library's own mode of many operations on one reserved stream.
    authenticate: () => null,
    // `prepare` did.
    validate: () => [],
    onSubscribe(request, { query, operationName, variables }) {
      const prepared = operations.prepare({ query, operationName, variables }, request.raw);
      // An error is one event of the stream, as graphql-sse does for failed validation. `data` marks it as a result for the library and is not sent.
      return Array.isArray(prepared) ? { data: undefined as never, errors: prepared as GraphQLError[] } : { ...prepared, contextValue: prepared.contextValue as never };
    },
    execute: (args) => operations.run('sse', args),
    subscribe: (args) => operations.run('sse', args),
    async onNext(_context, request, result) {
      await request.context.backlog.add();
      return operations.formatResult(result as ExecutionResult);
    },
  });
}

export function createEventStreams(operations: Operations, connections: OpenConnections, logger: Logger): ServeEventStream {
  const handler = createStreamHandler(operations);

  async function stream(body: AsyncGenerator<string, void, undefined>, response: ServerResponse, backlog: Backlog, ending: AbortSignal): Promise<void> {
    const stop = () => {
      backlog.close();
      body.return().catch((error: unknown) => logger.warn({ err: error }, 'an event stream could not be cleaned up'));
    };
    ending.addEventListener('abort', stop, { once: true });
    if (ending.aborted) stop();
    try {
      for await (const chunk of body) {
        if (!(await write(response, chunk))) return;
        if (chunk.startsWith('event: next')) backlog.written();
      }
      const reason = ending.reason as EndReason | 'gone' | undefined;
      if (reason && reason !== 'gone') await write(response, lastEvents(LAST_WORDS[reason]));
    } catch (error) {
      // The subscription failed after its stream had begun.
      await write(response, lastEvents({ errors: [operations.format(new GraphQLError('', { originalError: error as Error }))] }));
    }
  }

  return async (request) => {
    const { response, caller } = request;
    const ending = new AbortController();
    const remove = connections.add({ tokenSha256: () => caller.sha256, end: (reason) => ending.abort(reason) });
    if (!remove) return answerJson(request, 503, errorBody('LIMIT_EXCEEDED', 'too many connections are open, or the server is stopping; try again later'));
    response.once('close', () => ending.abort('gone'));
    try {
      const backlog = new Backlog();
      const [body, init]: Response = await handler({
        method: request.method, url: request.url, raw: caller, context: { backlog },
        headers: { get: (name) => (name === 'accept' ? 'text/event-stream' : request.headers[name]?.toString()) },
        body: request.body as Record<string, unknown> | null,
      });
      response.writeHead(init.status, { ...request.answerHeaders, ...init.headers });
      if (body === null || typeof body === 'string') response.end(body ?? undefined);
      else await stream(body, response, backlog, ending.signal);
    } catch (error) {
      logger.error({ err: error }, 'an event stream failed by a fault of ours');
      if (!response.headersSent) answerJson(request, 500, errorBody('INTERNAL_SERVER_ERROR', 'Internal server error'));
    } finally {
      remove();
      response.end();
    }
  };
}

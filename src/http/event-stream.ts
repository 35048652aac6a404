/** GraphQL over Server-Sent Events: the distinct connections mode of graphql-sse, one request an operation, readable with curl -N. */
import type { IncomingHttpHeaders, OutgoingHttpHeaders, ServerResponse } from 'node:http';
import { createHandler } from 'graphql-sse';
import type { ExecutionResult, GraphQLError } from 'graphql';
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

async function writeAll(body: AsyncGenerator<string, void, undefined>, response: ServerResponse, backlog: Backlog): Promise<void> {
  for await (const chunk of body) {
    if (!(await write(response, chunk))) return;
    if (chunk.startsWith('event: next')) backlog.written();
  }
}

/** Ends a stream from outside: because the reader went, the token was revoked or the server stops. */
class Ending {
  readonly #backlog: Backlog;
  readonly #logger: Logger;
  #reason: EndReason | null = null;
  #stop: () => void = () => {};

  constructor(backlog: Backlog, logger: Logger) {
    this.#backlog = backlog;
    this.#logger = logger;
  }

  end(reason: EndReason): void {
    this.#reason = reason;
    this.#stop();
  }

  async during(body: AsyncGenerator<string, void, undefined>, response: ServerResponse, run: () => Promise<void>): Promise<void> {
    this.#stop = () => {
      this.#backlog.close();
      body.return().catch((error: unknown) => this.#logger.warn({ err: error }, 'an event stream could not be cleaned up'));
    };
    response.once('close', this.#stop);
    if (this.#reason || response.destroyed) this.#stop();
    await run();
    response.off('close', this.#stop);
    if (this.#reason) await write(response, `event: next\ndata: ${JSON.stringify(LAST_WORDS[this.#reason])}\n\nevent: complete\ndata:\n\n`);
  }
}

function answerJson({ response, answerHeaders }: EventStreamRequest, status: number, body: object): void {
  response.writeHead(status, { ...answerHeaders, 'content-type': 'application/json; charset=utf-8' }).end(JSON.stringify(body));
}

/** Serves one request; resolves when the stream is over. */
export type ServeEventStream = (request: EventStreamRequest) => Promise<void>;

export function createEventStreams(operations: Operations, connections: OpenConnections, logger: Logger): ServeEventStream {
  const handler = createHandler<Caller, { backlog: Backlog }>({
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

  return async (request) => {
    const { response, caller } = request;
    const backlog = new Backlog();
    const ending = new Ending(backlog, logger);
    const remove = connections.add({ tokenSha256: () => caller.sha256, end: (reason) => ending.end(reason) });
    if (!remove) return answerJson(request, 503, errorBody('LIMIT_EXCEEDED', 'too many connections are open, or the server is stopping; try again later'));
    try {
      const [body, init]: Response = await handler({
        method: request.method, url: request.url, raw: caller, context: { backlog },
        headers: { get: (name) => (name === 'accept' ? 'text/event-stream' : request.headers[name]?.toString()) },
        body: request.body as Record<string, unknown> | null,
      });
      response.writeHead(init.status, { ...request.answerHeaders, ...init.headers });
      if (body === null || typeof body === 'string') return void response.end(body ?? undefined);
      await ending.during(body, response, () => writeAll(body, response, backlog));
    } finally {
      remove();
      response.end();
    }
  };
}

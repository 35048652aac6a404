/** `POST /ingest/metrics`: points of any number of jobs as a stream, in NDJSON or Arrow, in constant memory. The same stream twice counts once. */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { ActionContext } from '../../actions/action-context.ts';
import { ingestMetrics } from '../../actions/ingest-metrics.ts';
import { UserError } from '../../domain/errors.ts';
import type { Caller } from '../authentication.ts';
import { CollectedPoints } from './collected-points.ts';
import { readArrow } from './read-arrow.ts';
import { readNdjson } from './read-ndjson.ts';

const READERS: Record<string, typeof readNdjson> = {
  'application/x-ndjson': readNdjson,
  'application/jsonl': readNdjson,
  'application/vnd.apache.arrow.stream': readArrow,
};

/** What the handler needs of the server. */
export interface IngestOptions {
  actionContext: (tokenName: string) => ActionContext;
}

/** Serves the endpoint. Its body is never held as a whole, so that it may be of any size. */
export async function serveIngest(server: FastifyInstance, { actionContext }: IngestOptions): Promise<void> {
  await server.register(async (scope) => {
    scope.addContentTypeParser('*', (_request, _body, done) => done(null));
    scope.post('/ingest/metrics', { bodyLimit: Number.MAX_SAFE_INTEGER }, async (request, reply) => {
      const { tokenName, scopes } = request.caller as Caller;
      if (!scopes.includes('write')) throw UserError.of('FORBIDDEN', `the token "${tokenName}" may not write`);
      const read = readerOf(request);
      const context = actionContext(tokenName);
      const points = new CollectedPoints((parts) => ingestMetrics(context, parts));
      // Not destroyed when the reader has seen enough: the answer goes back over the same connection.
      await read(request.raw.iterator({ destroyOnReturn: false }), points);
      reply.header('cache-control', 'no-store');
      return points.finish();
    });
  });
}

function readerOf({ headers }: FastifyRequest): typeof readNdjson {
  const type = headers['content-type']?.split(';', 1)[0]?.trim().toLowerCase() ?? '';
  const reader = READERS[type];
  if (reader === undefined) throw UserError.of('BAD_USER_INPUT', `the body cannot be of type "${type}"; send one of ${Object.keys(READERS).join(', ')} with the header Content-Type`);
  return reader;
}

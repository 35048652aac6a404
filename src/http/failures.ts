/** What a request gets that failed before GraphQL saw it. */
import type { FastifyError, FastifyInstance } from 'fastify';
import type { Logger } from 'pino';
import { asDatabaseError } from '../db/errors.ts';
import { errorBody, statusOf } from './answers.ts';

interface Failure {
  status: number;
  code: Parameters<typeof errorBody>[0];
  message: string;
}

function failureOf(error: FastifyError | Error, maxRequestBytes: number): Failure {
  const known = asDatabaseError(error);
  if (known) return { status: statusOf(known.code), code: known.code, message: known.message };
  if (error instanceof SyntaxError) return { status: 400, code: 'BAD_USER_INPUT', message: `the request is not valid JSON: ${error.message}` };
  const { code, statusCode } = error as FastifyError;
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE') {
    return { status: 413, code: 'LIMIT_EXCEEDED', message: `the request body is larger than ${maxRequestBytes} bytes (limits.maxRequestBytes in expgraph.yaml); send less at once` };
  }
  if (code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE') return { status: 415, code: 'BAD_USER_INPUT', message: 'the body must be JSON with the header "Content-Type: application/json"' };
  if (statusCode !== undefined && statusCode < 500) return { status: statusCode, code: 'BAD_USER_INPUT', message: error.message };
  if (statusCode === 503) return { status: 503, code: 'SERVER_STOPPING', message: 'the server is stopping; try again later' };
  return { status: 500, code: 'INTERNAL_SERVER_ERROR', message: 'Internal server error' };
}

/** Answers faults and unknown addresses with GraphQL-shaped errors; faults of ours are logged and masked. */
export function answerFailures(server: FastifyInstance, { logger, maxRequestBytes }: { logger: Logger; maxRequestBytes: number }): void {
  server.setErrorHandler<FastifyError>((error, request, reply) => {
    const { status, code, message } = failureOf(error, maxRequestBytes);
    if (status === 500) logger.error({ err: error, requestId: request.id }, 'a request failed by a fault of ours');
    if (status === 401) reply.header('www-authenticate', 'Bearer realm="expgraph"');
    return reply.code(status).send(errorBody(code, message));
  });
  server.setNotFoundHandler((request, reply) =>
    reply.code(404).send(errorBody('NOT_FOUND', `there is nothing at ${request.method} ${request.url.split('?', 1)[0]}; GraphQL is served at /graphql`)));
}

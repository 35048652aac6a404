/** Refusals outside GraphQL execution, in the shape that GraphQL clients read anyway. */
import type { ErrorCode } from '../domain/errors.ts';

export const HOW_TO_SEND_A_TOKEN = 'send the header "Authorization: Bearer <token>" (over a WebSocket the header, or {"token": "<token>"} as payload of connection_init)';

export function errorBody(code: ErrorCode | 'INTERNAL_SERVER_ERROR' | 'SERVER_STOPPING', message: string): { errors: { message: string; extensions: { code: string } }[] } {
  return { errors: [{ message, extensions: { code } }] };
}

/** The HTTP status that says the same as a code. */
export function statusOf(code: ErrorCode): number {
  switch (code) {
    case 'UNAUTHENTICATED': return 401;
    case 'FORBIDDEN': return 403;
    case 'NOT_FOUND': return 404;
    case 'ALREADY_EXISTS':
    case 'CONFLICT':
    case 'IDEMPOTENCY_KEY_REUSED': return 409;
    case 'CURSOR_EXPIRED': return 410;
    case 'LIMIT_EXCEEDED': return 413;
    case 'CLUSTER_UNAVAILABLE':
    case 'DATABASE_UNAVAILABLE': return 503;
    case 'BAD_USER_INPUT': return 400;
  }
}

/**
 * The errors a caller can act on. Every room may throw one; `http` and `graphql` turn it into a GraphQL error or a
 * `userErrors` entry with the same code. Anything else that is thrown is a bug and shows as INTERNAL_SERVER_ERROR.
 */
export const ERROR_CODES = [
  'BAD_USER_INPUT', 'NOT_FOUND', 'ALREADY_EXISTS', 'CONFLICT', 'LIMIT_EXCEEDED', 'UNAUTHENTICATED', 'FORBIDDEN',
  'IDEMPOTENCY_KEY_REUSED', 'CLUSTER_UNAVAILABLE', 'DATABASE_UNAVAILABLE', 'CURSOR_EXPIRED',
] as const;
export type ErrorCode = (typeof ERROR_CODES)[number];

/** One fault in an input: where it is, what is wrong and what would be right. */
export interface UserFault {
  /** Path into the input (`['resources', 'gpus']`), empty for the input as a whole. */
  field: string[];
  message: string;
  code: ErrorCode;
}

/** Thrown with every fault found, so that a caller mends all of them at once. */
export class UserError extends Error {
  readonly faults: UserFault[];
  constructor(faults: UserFault[]) {
    super(faults.map((fault) => (fault.field.length > 0 ? `${fault.field.join('.')}: ${fault.message}` : fault.message)).join('; '));
    this.name = 'UserError';
    this.faults = faults;
  }

  static of(code: ErrorCode, message: string, field: string[] = []): UserError {
    return new UserError([{ field, message, code }]);
  }

  get code(): ErrorCode {
    return this.faults[0]?.code ?? 'BAD_USER_INPUT';
  }
}

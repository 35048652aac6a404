/** How failures reach a client: with words and a code where the client can act on them, masked where it cannot. */
import { GraphQLError, type GraphQLFormattedError, type GraphQLSchema } from 'graphql';
import { asDatabaseError } from '../db/errors.ts';
import { UserError, type ErrorCode, type UserFault } from '../domain/errors.ts';
import { withWhatFits } from './what-fits.ts';

/** Codes that no change of the input would mend: they fail the field itself. */
const TOP_LEVEL_CODES: ReadonlySet<ErrorCode> = new Set(['UNAUTHENTICATED', 'FORBIDDEN', 'DATABASE_UNAVAILABLE']);

/** Runs a mutation; faults of the input become the payload's `userErrors` beside the `empty` entity fields. */
export async function withUserErrors<Payload extends object>(empty: Payload, run: () => Promise<Payload>): Promise<Payload & { userErrors: UserFault[] }> {
  try {
    // Not copied: a field may be a getter that costs something.
    return Object.assign(await run(), { userErrors: [] });
  } catch (error) {
    const known = asDatabaseError(error);
    if (known === null || known.faults.some((fault) => TOP_LEVEL_CODES.has(fault.code))) throw error;
    return { ...empty, userErrors: known.faults };
  }
}

/**
 * The error as a client may see it. A UserError keeps its words and code, a database failure says no more than that, GraphQL's
 * own complaints about the request keep their messages and say what would be right, and anything else is handed to `onBug` and masked.
 */
export function formatGraphqlError(formatted: GraphQLFormattedError, error: unknown, schema: GraphQLSchema, onBug: (error: unknown) => void): GraphQLFormattedError {
  const original = innermost(error);
  if (original instanceof GraphQLError) return withoutStack({ ...formatted, message: withWhatFits(formatted.message, schema) });
  const known = original instanceof UserError ? original : asDatabaseError(original);
  if (known !== null) {
    return { ...located(formatted), message: known.message, extensions: { code: known.code, faults: known.faults } };
  }
  // Before any field was resolved only the request itself can have been too deep for the stack.
  if (isStackOverflow(original) && !formatted.path) return { ...located(formatted), message: NESTED_TOO_DEEPLY, extensions: { code: 'LIMIT_EXCEEDED' } };
  onBug(original);
  return { ...located(formatted), message: 'Internal server error', extensions: { code: 'INTERNAL_SERVER_ERROR' } };
}

const NESTED_TOO_DEEPLY = 'the request is nested too deeply to be read';

/** Whether reading something went deeper than the stack allows. */
export function isStackOverflow(error: unknown): error is RangeError {
  return error instanceof RangeError && error.message.includes('call stack');
}

function innermost(error: unknown): unknown {
  let current = error;
  while (current instanceof GraphQLError && current.originalError !== undefined) current = current.originalError;
  return current;
}

function located({ locations, path }: GraphQLFormattedError): Pick<GraphQLFormattedError, 'locations' | 'path'> {
  return { ...(locations && { locations }), ...(path && { path }) };
}

function withoutStack(formatted: GraphQLFormattedError): GraphQLFormattedError {
  const { stacktrace: _, ...extensions } = formatted.extensions ?? {};
  return { ...located(formatted), message: formatted.message, extensions: { code: 'BAD_USER_INPUT', ...extensions } };
}

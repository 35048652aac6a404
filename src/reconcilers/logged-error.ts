/** What a log line says of a failure. */
import { SubmitError } from '../cluster/executor.ts';
import { FileError, TransportError } from '../cluster/transport.ts';

/** A refusal by a cluster is told by its words; where in our code it came up says nothing. Anything else comes with its stack. */
export function loggedError(error: unknown): { reason: string } | { err: unknown } {
  const isRefusal = error instanceof SubmitError || error instanceof TransportError || error instanceof FileError;
  return isRefusal ? { reason: error.message } : { err: error };
}

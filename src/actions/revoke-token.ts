import type { Database } from '../db/database.ts';
import { transact } from '../db/transaction.ts';
import { revokeTokensNamed } from '../db/write/tokens.ts';
import { UserError } from '../domain/errors.ts';

/** Ends the validity of a token. Throws UserError NOT_FOUND when no valid one has the name. */
export async function revokeToken({ database }: { database: Database }, input: { name: string }): Promise<void> {
  const count = await transact(database, (transaction) => revokeTokensNamed(transaction, input.name));
  if (count === 0) throw UserError.of('NOT_FOUND', `there is no valid token "${input.name}"`, ['name']);
}

import type { Database } from '../db/database.ts';
import { hasWriteToken } from '../db/read/tokens.ts';
import { transact } from '../db/transaction.ts';
import { lockTokens, revokeTokensNamed } from '../db/write/tokens.ts';
import { UserError } from '../domain/errors.ts';

/**
 * Ends the validity of a token. Throws UserError NOT_FOUND when no valid one has the name, CONFLICT when no valid token with the
 * scope `write` would be left: nobody could make another one then.
 */
export async function revokeToken({ database }: { database: Database }, input: { name: string }): Promise<void> {
  await transact(database, async (transaction) => {
    // Of two revocations at once, the later sees what the earlier has left.
    await lockTokens(transaction);
    const scopes = await revokeTokensNamed(transaction, input.name);
    if (scopes === null) throw UserError.of('NOT_FOUND', `there is no valid token "${input.name}"`, ['name']);
    if (scopes.includes('write') && !await hasWriteToken(transaction)) {
      throw UserError.of('CONFLICT', `"${input.name}" is the last token with the scope WRITE, and nobody could make another one without it; make a new one with createToken first, then revoke this one with the new one`, ['name']);
    }
  });
}

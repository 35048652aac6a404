/** Makes access tokens. A token is shown once, to whoever made it; the database only knows its hash. */
import { createHash, randomBytes } from 'node:crypto';
import type { Database, Transaction } from '../db/database.ts';
import { findTokenNamed, hasTokens } from '../db/read/tokens.ts';
import { TOKEN_SCOPES, type TokenScope } from '../db/tables/access.ts';
import { transact } from '../db/transaction.ts';
import { insertToken, lockTokens } from '../db/write/tokens.ts';
import { UserError } from '../domain/errors.ts';
import { nameFaults, throwFaults } from './input-faults.ts';

const FIRST_TOKEN_NAME = 'admin';
/** 256 bits: 43 characters of base64url. */
const TOKEN_BYTES = 32;

/** The hash by which a token is looked up. */
export function tokenSha256(token: string): string {
  return createHash('sha256').update(token).digest('hex');
}

/** Throws UserError BAD_USER_INPUT for a bad name or no scopes, ALREADY_EXISTS when a valid token has the name. */
export async function createToken(
  { database }: { database: Database }, input: { name: string; scopes: TokenScope[] },
): Promise<{ tokenId: string; token: string }> {
  throwFaults([
    ...nameFaults(input.name, ['name']),
    ...(input.scopes.length > 0 ? [] : [{ field: ['scopes'], message: `must name at least one of ${TOKEN_SCOPES.join(', ')}`, code: 'BAD_USER_INPUT' as const }]),
  ]);
  const token = newToken();
  const tokenId = await transact(database, async (transaction) => {
    await lockTokens(transaction);
    if (await findTokenNamed(transaction, input.name) !== null) {
      throw UserError.of('ALREADY_EXISTS', `there is a token "${input.name}" already; revoke it first or choose another name`, ['name']);
    }
    return insertToken(transaction, { name: input.name, sha256: tokenSha256(token), scopes: [...new Set(input.scopes)] });
  });
  return { tokenId, token };
}

/**
 * Makes the token `admin` when there never was a token; null when there was. `keep` must have stored the token when it
 * resolves: only then does it become valid, so that a crash cannot leave a valid token that nobody knows.
 */
export async function ensureFirstToken(database: Database, keep: (token: string) => Promise<void>): Promise<string | null> {
  if (await hasTokens(database)) return null;
  return transact(database, async (transaction) => {
    await lockTokens(transaction);
    if (await hasTokens(transaction)) return null;
    return addAdminToken(transaction, FIRST_TOKEN_NAME, keep);
  });
}

/**
 * Makes one more token with all scopes, named `admin-<time>`, for whoever lost the first one and has the database in hand.
 * Tokens that were valid stay so. `keep` as for the first token.
 */
export async function replaceLostToken(database: Database, now: Date, keep: (token: string) => Promise<void>): Promise<string> {
  const name = `${FIRST_TOKEN_NAME}-${now.toISOString()}`;
  return transact(database, async (transaction) => {
    await lockTokens(transaction);
    return addAdminToken(transaction, name, keep);
  });
}

async function addAdminToken(transaction: Transaction, name: string, keep: (token: string) => Promise<void>): Promise<string> {
  const token = newToken();
  await insertToken(transaction, { name, sha256: tokenSha256(token), scopes: [...TOKEN_SCOPES] });
  await keep(token);
  return token;
}

function newToken(): string {
  return `eg_${randomBytes(TOKEN_BYTES).toString('base64url')}`;
}

/** Access tokens: only their hash is stored. */
import { and, eq, isNull, sql } from 'drizzle-orm';
import type { Database, Transaction } from '../database.ts';
import { newId } from '../ids.ts';
import { tokens, type TokenScope } from '../tables/index.ts';

/** Makes every other transaction that adds or revokes tokens wait for this one. */
export async function lockTokens(transaction: Transaction): Promise<void> {
  await transaction.execute(sql`lock table ${tokens} in share row exclusive mode`);
}

export async function insertToken(transaction: Transaction, token: { name: string; sha256: string; scopes: TokenScope[] }): Promise<string> {
  const id = newId();
  await transaction.insert(tokens).values({ id, ...token });
  return id;
}

/** Ends the validity of every token of this name. Answers the scopes they had; null when there was none. */
export async function revokeTokensNamed(transaction: Transaction, name: string): Promise<TokenScope[] | null> {
  const revoked = await transaction.update(tokens).set({ revokedAt: sql`now()` })
    .where(and(eq(tokens.name, name), isNull(tokens.revokedAt))).returning({ scopes: tokens.scopes });
  return revoked.length === 0 ? null : revoked.flatMap(({ scopes }) => scopes);
}

/** Notes that a token was used, at most once a minute, because it is used with every request. */
export async function touchToken(database: Database, id: string): Promise<void> {
  await database.update(tokens).set({ lastUsedAt: sql`now()` })
    .where(and(eq(tokens.id, id), sql`(${tokens.lastUsedAt} is null or ${tokens.lastUsedAt} < now() - interval '1 minute')`));
}

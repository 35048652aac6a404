/** Reads of access tokens. */
import { and, arrayContains, eq, isNull } from 'drizzle-orm';
import type { Reader } from '../database.ts';
import { tokens, type TokenScope } from '../tables/index.ts';

export interface KnownToken {
  id: string;
  name: string;
  scopes: TokenScope[];
}

/** The valid token with this hash (hex), or null when there is none or it was revoked. */
export async function findToken(reader: Reader, sha256: string): Promise<KnownToken | null> {
  return findValid(reader, eq(tokens.sha256, sha256));
}

/** A valid token of this name, or null. */
export async function findTokenNamed(reader: Reader, name: string): Promise<KnownToken | null> {
  return findValid(reader, eq(tokens.name, name));
}

/** A token as people may see it: never the token itself. */
export interface TokenRow {
  name: string;
  scopes: TokenScope[];
  createdAt: Date;
  lastUsedAt: Date | null;
}

/** The valid tokens, by name. */
export async function validTokens(reader: Reader): Promise<TokenRow[]> {
  const { name, scopes, createdAt, lastUsedAt } = tokens;
  return reader.select({ name, scopes, createdAt, lastUsedAt }).from(tokens).where(isNull(tokens.revokedAt)).orderBy(tokens.name);
}

/** Whether a token was ever made. */
export async function hasTokens(reader: Reader): Promise<boolean> {
  return (await reader.select({ id: tokens.id }).from(tokens).limit(1)).length > 0;
}

/** Whether there is a valid token with the scope `write`. */
export async function hasWriteToken(reader: Reader): Promise<boolean> {
  const found = await reader.select({ id: tokens.id }).from(tokens).where(and(isNull(tokens.revokedAt), arrayContains(tokens.scopes, ['write']))).limit(1);
  return found.length > 0;
}

async function findValid(reader: Reader, condition: ReturnType<typeof eq>): Promise<KnownToken | null> {
  const [token] = await reader.select({ id: tokens.id, name: tokens.name, scopes: tokens.scopes }).from(tokens)
    .where(and(condition, isNull(tokens.revokedAt))).limit(1);
  return token ?? null;
}

/** Who calls. A token is looked up by its SHA-256, so that no comparison with a secret takes a time that tells anything. */
import { createHash } from 'node:crypto';
import type { Viewer } from '../graphql/context.ts';

/** How long a token that was found may go on being used after it was revoked. */
export const TOKEN_CACHE_MS = 5_000;
/** Tokens remembered at once: more than people in a lab have. */
const MAX_CACHED_TOKENS = 1_000;

/** Who calls, and the SHA-256 of their token: what a long connection is looked up by again. */
export interface Caller extends Viewer {
  sha256: string;
}

/** The caller with a token of that SHA-256, or null when there is none or it was revoked. */
export type FindViewer = (sha256: string) => Promise<Viewer | null>;

export interface Authenticator {
  byToken(token: string): Promise<Caller | null>;
  bySha256(sha256: string): Promise<Caller | null>;
}

export function createAuthenticator(find: FindViewer): Authenticator {
  const cache = new Map<string, { caller: Caller; expiresAt: number }>();
  async function bySha256(sha256: string): Promise<Caller | null> {
    const cached = cache.get(sha256);
    if (cached && cached.expiresAt > performance.now()) return cached.caller;
    cache.delete(sha256);
    const found = await find(sha256);
    if (!found) return null;
    const caller = { ...found, sha256 };
    if (cache.size >= MAX_CACHED_TOKENS) cache.clear();
    cache.set(sha256, { caller, expiresAt: performance.now() + TOKEN_CACHE_MS });
    return caller;
  }
  return { bySha256, byToken: (token) => bySha256(createHash('sha256').update(token).digest('hex')) };
}

/** The token in an `Authorization` value, or null when it is no bearer token. */
export function bearerToken(authorization: unknown): string | null {
  return typeof authorization === 'string' ? (/^Bearer +([\x21-\x7e]+) *$/i.exec(authorization)?.[1] ?? null) : null;
}

/** Answers that were given under an idempotency key. */
import { and, eq } from 'drizzle-orm';
import type { JsonObject } from '../../domain/job-spec.ts';
import type { Reader } from '../database.ts';
import { idempotencyKeys } from '../tables/index.ts';

export interface KeptAnswer {
  mutation: string;
  inputSha256: string;
  answer: JsonObject;
}

export async function findKeptAnswer(reader: Reader, tokenName: string, key: string): Promise<KeptAnswer | null> {
  const [kept] = await reader
    .select({ mutation: idempotencyKeys.mutation, inputSha256: idempotencyKeys.inputSha256, answer: idempotencyKeys.answer })
    .from(idempotencyKeys).where(and(eq(idempotencyKeys.tokenName, tokenName), eq(idempotencyKeys.key, key)));
  return kept ?? null;
}

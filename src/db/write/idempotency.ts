/** Idempotency keys: the same mutation again under one key gives the same answer again. */
import { and, eq } from 'drizzle-orm';
import type { JsonObject } from '../../domain/job-spec.ts';
import type { Transaction } from '../database.ts';
import { idempotencyKeys } from '../tables/index.ts';

export interface IdempotencyClaim {
  tokenName: string;
  key: string;
  mutation: string;
  inputSha256: string;
}

/**
 * True when the key is now this transaction's. Waits for a transaction that has claimed the key and not ended; false when
 * that one has committed and its answer can be read.
 */
export async function claimIdempotencyKey(transaction: Transaction, claim: IdempotencyClaim): Promise<boolean> {
  const claimed = await transaction.insert(idempotencyKeys).values({ ...claim, answer: {} })
    .onConflictDoNothing().returning({ key: idempotencyKeys.key });
  return claimed.length > 0;
}

export async function keepAnswer(transaction: Transaction, { tokenName, key }: IdempotencyClaim, answer: JsonObject): Promise<void> {
  await transaction.update(idempotencyKeys).set({ answer })
    .where(and(eq(idempotencyKeys.tokenName, tokenName), eq(idempotencyKeys.key, key)));
}

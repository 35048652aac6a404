/** How writes run: whole or not at all, with what went wrong said in words. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Database, Transaction } from './database.ts';
import { asDatabaseError, sqlStateOf } from './errors.ts';

/** A deadlock ends one of the two transactions, which then succeeds when it is tried again. */
const MAX_TRIES = 6;
/** The wait before the second try is a random part of this, and twice as long each time: those who met do not meet again. */
const FIRST_WAIT_MS = 20;
const SERIALIZATION_FAILURE = '40001';
const DEADLOCK_DETECTED = '40P01';

/**
 * Runs the work in a transaction, again from the start after a deadlock, so it must do nothing outside the database that
 * may not happen twice. Throws UserError where the caller can act on the failure.
 */
export async function transact<Result>(database: Database, work: (transaction: Transaction) => Promise<Result>): Promise<Result> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await database.transaction(work);
    } catch (error) {
      const state = sqlStateOf(error);
      const mayRetry = state === SERIALIZATION_FAILURE || state === DEADLOCK_DETECTED;
      if (!mayRetry || tries === MAX_TRIES) throw asDatabaseError(error) ?? error;
      await delay(Math.random() * FIRST_WAIT_MS * 2 ** (tries - 1));
    }
  }
}

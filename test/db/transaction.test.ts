import { sql } from 'drizzle-orm';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { transact } from '../../src/db/transaction.ts';
import { testDatabase, type TestDatabase } from '../support/database.ts';

let db: TestDatabase;
beforeEach(async () => { db = await testDatabase(); });
afterEach(() => db.drop());

const cutAll = 'select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()';

/** What a connection says whose end this process had not been told of; anything else is a failure. */
function asLost(error: unknown): string {
  expect(error).toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
  return 'lost';
}

test('connections that break, at whatever statement, leave the pool: it never runs dry', async () => {
  // More often than the pool has connections.
  for (let round = 0; round < 12; round += 1) {
    const inside = transact(db.database, async (transaction) => {
      const { rows } = await transaction.execute<{ pid: number }>(sql`select pg_backend_pid() as pid`);
      await db.pool.query('select pg_terminate_backend($1)', [rows[0]?.pid]);
      await transaction.execute(sql`select 1`);
    });
    await expect(inside).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
  }
  for (let round = 0; round < 12; round += 1) {
    // Idle connections, the loss of which this process has not been told of when it begins. Word of the cut before this
    // one may come as late as now, so some of these may fail as well.
    await Promise.allSettled(Array.from({ length: 4 }, () => db.pool.query('select pg_sleep(0.01)')));
    const cutting = db.pool.query(cutAll);
    await Promise.allSettled(Array.from({ length: 6 }, () => transact(db.database, (transaction) => transaction.execute(sql`select 1`))));
    await cutting.catch(() => undefined);
  }
  await expect.poll(() => transact(db.database, async () => 'done').catch(asLost)).toBe('done');
  expect(db.pool.totalCount - db.pool.idleCount).toBe(0);
}, 60_000);

/** What a piece of work costs the database. */
import type pg from 'pg';

/** How many statements the work sends, on whichever connection of the pool. */
export async function statementsOf(pool: pg.Pool, work: () => Promise<unknown>): Promise<number> {
  let statements = 0;
  const counted = new Map<pg.PoolClient, pg.PoolClient['query']>();
  const count = (client: pg.PoolClient): void => {
    if (counted.has(client)) return;
    const original = client.query;
    counted.set(client, original);
    client.query = ((...args: unknown[]) => {
      statements += 1;
      return Reflect.apply(original, client, args);
    }) as never;
  };
  pool.on('acquire', count);
  try {
    await work();
  } finally {
    pool.off('acquire', count);
    for (const [client, original] of counted) client.query = original;
  }
  return statements;
}

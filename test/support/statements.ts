/** What a piece of work costs the database. */
import type pg from 'pg';

/** How many statements the work sends, on whichever connection of the pool. */
export async function statementsOf(pool: pg.Pool, work: () => Promise<unknown>): Promise<number> {
  return withCountedStatements(pool, '', async (count) => {
    await work();
    return count();
  });
}

/** Runs the work, which is told how many statements with this beginning were sent since it began. */
export async function withCountedStatements<Answer>(pool: pg.Pool, beginning: string, work: (count: () => number) => Promise<Answer>): Promise<Answer> {
  let statements = 0;
  const counted = new Map<pg.PoolClient, pg.PoolClient['query']>();
  const count = (client: pg.PoolClient): void => {
    if (counted.has(client)) return;
    const original = client.query;
    counted.set(client, original);
    client.query = ((...args: [string | { text: string }, ...unknown[]]) => {
      const [statement] = args;
      if ((typeof statement === 'string' ? statement : statement.text).startsWith(beginning)) statements += 1;
      return Reflect.apply(original, client, args);
    }) as never;
  };
  pool.on('acquire', count);
  try {
    return await work(() => statements);
  } finally {
    pool.off('acquire', count);
    for (const [client, original] of counted) client.query = original;
  }
}

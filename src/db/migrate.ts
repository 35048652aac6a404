/** Brings the database's tables to this version. */
import { fileURLToPath } from 'node:url';
import { drizzle } from 'drizzle-orm/node-postgres';
import { migrate } from 'drizzle-orm/node-postgres/migrator';
import pg from 'pg';

/** Seen from src/db and from dist/server alike. */
const MIGRATIONS_FOLDER = fileURLToPath(new URL('../../migrations', import.meta.url));
/** Key of the advisory lock; any number that nobody else takes. */
const LOCK_KEY = 7_305_511_001;

/** Applies the migrations that are missing. Processes that start together take turns. */
export async function migrateDatabase(pool: pg.Pool): Promise<void> {
  // Not one of the pool's connections: those give up a statement that takes long.
  const client = new pg.Client({ ...pool.options, query_timeout: undefined });
  // The statement in progress fails with what is wrong; unheard, it would end this process, too.
  client.on('error', () => undefined);
  try {
    await client.connect();
    await client.query("set statement_timeout = 0; set client_min_messages = 'warning'");
    await client.query('select pg_advisory_lock($1)', [LOCK_KEY]);
    await migrate(drizzle(client), { migrationsFolder: MIGRATIONS_FOLDER });
  } finally {
    // Closing the session gives back the lock and the settings, whatever went wrong.
    await client.end();
  }
}

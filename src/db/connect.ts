/** Opens the pool of connections. */
import { drizzle } from 'drizzle-orm/node-postgres';
import pg from 'pg';
import { UserError } from '../domain/errors.ts';
import type { Database } from './database.ts';
import { asDatabaseError } from './errors.ts';
import type { DatabaseLog } from './log.ts';
import * as tables from './tables/index.ts';
import { rememberClient } from './transaction-client.ts';

/** No request is worth more of the server's time than this; migrations lift it for themselves. */
const STATEMENT_TIMEOUT_MS = 60_000;
/** A transaction that waits this long for its own client has lost it: that process was stopped or cut off, and others wait for its locks. */
const IDLE_IN_TRANSACTION_TIMEOUT_MS = 30_000;
/** A server that has not answered by now is gone without a word, for it ends every statement before that. */
const ANSWER_TIMEOUT_MS = STATEMENT_TIMEOUT_MS + 5_000;
const CONNECT_TIMEOUT_MS = 10_000;
const OLDEST_SERVER_MAJOR = 14;

export interface ConnectOptions {
  /** Most connections open at once. The feed keeps one of them. */
  max: number;
  log?: DatabaseLog;
}

export interface Connection {
  database: Database;
  pool: pg.Pool;
  /** Waits for running statements, then closes every connection. */
  close(): Promise<void>;
}

/**
 * Connects to a PostgreSQL server. Throws UserError: DATABASE_UNAVAILABLE when it cannot be reached, does not accept the
 * credentials or is older than PostgreSQL 14; BAD_USER_INPUT when the URL is none.
 */
export async function connect(url: string, options: ConnectOptions): Promise<Connection> {
  const pool = openPool(url, options);
  // Without a listener, a server that restarts ends this process.
  pool.on('error', (error) => options.log?.warn({ reason: error.message }, 'a database connection was lost'));
  // The pool listens to idle connections only, and one may be lost between two statements of a transaction.
  pool.on('connect', (client) => client.on('error', () => undefined));
  try {
    await refuseOldServer(pool);
  } catch (error) {
    await pool.end();
    throw error;
  }
  return { database: openDatabase(pool), pool, close: () => pool.end() };
}

/**
 * Transactions take and give back their connections here: drizzle keeps one on which BEGIN fails for ever, so that each restart of the
 * server would leave the pool smaller.
 */
function openDatabase(pool: pg.Pool): Database {
  const database = drizzle(pool, { schema: tables });
  database.transaction = async (work, config) => {
    const client = await pool.connect();
    let isBroken = false;
    try {
      return await drizzle(client, { schema: tables }).transaction((transaction) => {
        rememberClient(transaction, client);
        return work(transaction);
      }, config);
    } catch (error) {
      isBroken = asDatabaseError(error)?.code === 'DATABASE_UNAVAILABLE';
      throw error;
    } finally {
      client.release(isBroken);
    }
  };
  return database;
}

function openPool(url: string, options: ConnectOptions): pg.Pool {
  try {
    return new pg.Pool({
      connectionString: url,
      max: options.max,
      application_name: 'expgraph',
      statement_timeout: STATEMENT_TIMEOUT_MS,
      query_timeout: ANSWER_TIMEOUT_MS,
      idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_TIMEOUT_MS,
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      keepAlive: true,
    });
  } catch {
    throw UserError.of('BAD_USER_INPUT', 'the database URL cannot be read; it looks like postgresql://user:password@host:5432/database', ['DATABASE_URL']);
  }
}

async function refuseOldServer(pool: pg.Pool): Promise<void> {
  const version = await serverVersion(pool);
  const major = Math.floor(version.number / 10_000);
  if (major < OLDEST_SERVER_MAJOR) {
    throw UserError.of('DATABASE_UNAVAILABLE', `the database server is PostgreSQL ${version.name}; expgraph needs ${OLDEST_SERVER_MAJOR} or newer`);
  }
}

async function serverVersion(pool: pg.Pool): Promise<{ number: number; name: string }> {
  try {
    const { rows } = await pool.query<{ number: string; name: string }>(
      "select current_setting('server_version_num') as number, current_setting('server_version') as name");
    return { number: Number(rows[0]?.number), name: rows[0]?.name ?? '?' };
  } catch (error) {
    // The server's own words on a refused connection (role, password, database name) are for whoever wrote the URL.
    const reason = error instanceof Error ? error.message : String(error);
    const known = asDatabaseError(error);
    if (known !== null || (error instanceof pg.DatabaseError && /^(28|3D)/.test(error.code ?? ''))) {
      throw UserError.of('DATABASE_UNAVAILABLE', `cannot connect to the database: ${reason || known?.message}`);
    }
    throw error;
  }
}

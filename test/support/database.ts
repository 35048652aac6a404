/** A database for a test file: migrated, empty, and nobody else's. */
import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import { inject } from 'vitest';
import { connect } from '../../src/db/connect.ts';
import type { Database } from '../../src/db/database.ts';

export const TEMPLATE_DATABASE = 'expgraph_template';

export interface TestDatabase {
  database: Database;
  pool: pg.Pool;
  url: string;
  /** Closes the pool and removes the database, whoever else is still connected. */
  drop(): Promise<void>;
}

/** @param template the migrated one unless said otherwise; `template0` is empty */
export async function testDatabase(template = TEMPLATE_DATABASE): Promise<TestDatabase> {
  const adminUrl = inject('postgresUrl');
  const name = `test_${randomUUID().replaceAll('-', '')}`;
  await runAsAdmin(adminUrl, `create database ${name} template ${template}`);
  const url = urlOfDatabase(adminUrl, name);
  const connection = await connect(url, { max: 8 });
  return {
    database: connection.database, pool: connection.pool, url,
    drop: async () => {
      if (!connection.pool.ended) await connection.close();
      await runAsAdmin(adminUrl, `drop database if exists ${name} with (force)`);
    },
  };
}

/** The URL of another database on the same server. */
export function urlOfDatabase(url: string, name: string): string {
  return url.replace(/^(\w+:\/\/[^/]*)(?:\/[^?]*)?/, `$1/${name}`);
}

async function runAsAdmin(url: string, statement: string): Promise<void> {
  const admin = await connect(url, { max: 1 });
  try {
    await admin.pool.query(statement);
  } finally {
    await admin.close();
  }
}

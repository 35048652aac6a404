import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest';
import { connect } from '../../src/db/connect.ts';
import { asDatabaseError } from '../../src/db/errors.ts';
import { migrateDatabase } from '../../src/db/migrate.ts';
import { transact } from '../../src/db/transaction.ts';
import { UserError } from '../../src/domain/errors.ts';
import { testDatabase, urlOfDatabase, type TestDatabase } from '../support/database.ts';

let db: TestDatabase;
beforeEach(async () => { db = await testDatabase(); });
afterEach(() => db.drop());

const failure = (promise: Promise<unknown>): Promise<unknown> => promise.then(() => { throw new Error('did not fail'); }, (error: unknown) => error);

describe('connect', () => {
  test('names the address that does not answer', async () => {
    expect(await failure(connect('postgresql://someone:secret@127.0.0.1:1/x', { max: 1 }))).toMatchObject({
      code: 'DATABASE_UNAVAILABLE', message: expect.stringMatching(/127\.0\.0\.1:1/),
    });
  });

  test('says in the server\'s words why it is not let in, without the password', async () => {
    const error = await failure(connect(urlOfDatabase(inject('postgresUrl'), 'no_such_database'), { max: 1 }));
    expect(error).toMatchObject({ code: 'DATABASE_UNAVAILABLE', message: expect.stringContaining('no_such_database') });
    expect(await failure(connect('not a url', { max: 1 }))).toBeInstanceOf(UserError);
  });

  test('survives the loss of its idle connections', async () => {
    const lost: string[] = [];
    const log = { info: () => undefined, warn: (_: object, message: string) => void lost.push(message), error: () => undefined };
    const connection = await connect(db.url, { max: 1, log });
    const gone = new Promise((resolve) => { connection.pool.once('remove', resolve); });
    await db.pool.query("select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and application_name = 'expgraph'");
    await gone;
    expect(lost).toEqual(['a database connection was lost']);
    expect((await connection.pool.query('select 1 as one')).rows).toEqual([{ one: 1 }]);
    await connection.close();
  });
});

describe('asDatabaseError', () => {
  test('a lost connection is DATABASE_UNAVAILABLE, told without SQL', async () => {
    const error = asDatabaseError(await failure(db.database.execute('select pg_terminate_backend(pg_backend_pid())')));
    expect(error).toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
    expect(error?.message).not.toContain('pg_');
  });

  test('a closed pool is DATABASE_UNAVAILABLE', async () => {
    const other = await connect(db.url, { max: 1 });
    await other.close();
    expect(asDatabaseError(await failure(other.database.execute('select 1')))).toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
  });

  test('a statement that took too long is LIMIT_EXCEEDED', async () => {
    const client = await db.pool.connect();
    await client.query('set statement_timeout = 20');
    expect(asDatabaseError(await failure(client.query('select pg_sleep(10)')))).toMatchObject({ code: 'LIMIT_EXCEEDED' });
    client.release(true);
  });

  test('what is our own mistake stays what it is', async () => {
    expect(asDatabaseError(await failure(db.database.execute('select nonsense')))).toBeNull();
    expect(asDatabaseError(new Error('something'))).toBeNull();
  });
});

test('a transaction that is the victim of a deadlock is run again', async () => {
  await db.pool.query('create table pair (id int primary key, n int); insert into pair values (1, 0), (2, 0)');
  const add = (order: [number, number]) => transact(db.database, async (transaction) => {
    for (const id of order) await transaction.execute(`update pair set n = n + 1 where id = ${id}`);
  });
  await Promise.all(Array.from({ length: 6 }, (_, index) => add(index % 2 === 0 ? [1, 2] : [2, 1])));
  expect((await db.pool.query('select n from pair')).rows).toEqual([{ n: 6 }, { n: 6 }]);
});

test('migrations applied by many processes at once are applied once', async () => {
  const name = `fresh_${randomUUID().replaceAll('-', '')}`;
  await db.pool.query(`create database ${name}`);
  const connections = await Promise.all(Array.from({ length: 4 }, () => connect(urlOfDatabase(db.url, name), { max: 2 })));
  await Promise.all(connections.map(({ pool }) => migrateDatabase(pool)));
  const tables = await connections[0]!.pool.query("select count(*)::int as count from information_schema.tables where table_schema = 'public' and table_name in ('jobs', 'events')");
  expect(tables.rows).toEqual([{ count: 2 }]);
  await Promise.all(connections.map((connection) => connection.close()));
  await db.pool.query(`drop database ${name}`);
});

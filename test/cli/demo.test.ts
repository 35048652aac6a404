/** The demo as a user runs it: the built program, its own server, real training runs. */
import { execFileSync, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readFile, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startServer } from '../../src/cli/server-process.ts';
import { ensureBuilt } from './built.ts';
import { processesOf } from './processes.ts';

const root = join(import.meta.dirname, '../..');
const DEMO_TIMEOUT_MS = 60_000;

/** The demo makes its folder in here, so everything it starts carries this path. */
let folder: string;
let demo: ChildProcess | undefined;

beforeAll(ensureBuilt, DEMO_TIMEOUT_MS);
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'expgraph-demo-test-'));
  await chmod(folder, 0o711);
});
afterEach(async () => {
  demo?.kill('SIGKILL');
  for (const { pid } of await processesOf(folder)) process.kill(pid, 'SIGKILL');
  await rm(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
});

function startDemo(argv: string[] = [], temporary = folder): { child: ChildProcess; output: () => string; shows: (words: RegExp) => Promise<void> } {
  const child = spawn(process.execPath, [join(root, 'dist/cli/demo.js'), ...argv], { env: { ...process.env, TMPDIR: temporary, EXPGRAPH_PORT: 'ignored', DATABASE_URL: 'ignored' }, stdio: ['ignore', 'pipe', 'pipe'] });
  demo = child;
  let output = '';
  const listeners = new Set<() => void>();
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      output += chunk.toString();
      for (const listener of listeners) listener();
    });
  }
  const shows = (words: RegExp) => new Promise<void>((resolve, reject) => {
    const look = () => { if (words.test(output)) resolve(); };
    listeners.add(look);
    child.once('exit', () => reject(new Error(`the demo ended without showing ${words}:\n${output}`)));
    look();
  });
  return { child, output: () => output, shows };
}

async function exitOf(child: ChildProcess): Promise<number | null> {
  const [code] = child.exitCode === null ? await once(child, 'exit') as [number | null] : [child.exitCode];
  return code;
}

/** The path printed after "Checkpoint to load:". */
const checkpointIn = (output: string) => /Checkpoint to load:\n(\S+)\n/.exec(output)?.[1] ?? '';

describe.skipIf(process.platform !== 'linux')('npm run demo', () => {
  test('runs 24 jobs in under a minute, shows progress and the leaderboard, and leaves nothing behind', async () => {
    const begun = performance.now();
    const { child, output } = startDemo();
    expect(await exitOf(child), output()).toBe(0);
    expect(performance.now() - begun).toBeLessThan(DEMO_TIMEOUT_MS);
    expect(output()).toContain('24 jobs');
    expect(output()).toMatch(/\d+\/24 done \| .*RUNNING.* \| \d+ jobs\/hour, \d+ s to go/);
    expect(output()).toContain('24/24 done | 24 COMPLETED');
    const rows = output().split('\n').filter((line) => /│ +\d+ │/.test(line));
    expect(rows).toHaveLength(8);
    expect(rows[0]).toMatch(/│ +0\.03 │ +16 │ +\d\.\d{4} ± \d\.\d{4} │ +3 │ \d\.\d{4} │ +\d+ │ \S+\/checkpoints\/epoch=\d+-step=\d+\.json/);
    expect(output()).toMatch(/evaluate\.py loaded it: accuracy=0\.9\d+ /);
    expect(await processesOf(folder)).toEqual([]);
    expect(await readdir(folder)).toEqual([]);
  }, 2 * DEMO_TIMEOUT_MS);

  test('--keep leaves the server and the checkpoint, and says how to stop them', async () => {
    const { child, output } = startDemo(['--keep']);
    expect(await exitOf(child), output()).toBe(0);
    expect((await stat(checkpointIn(output()))).isFile()).toBe(true);
    const url = /GraphQL +(http:\S+)/.exec(output())?.[1] ?? '';
    const token = (await readFile(/token file +(\S+)/.exec(output())?.[1] ?? '', 'utf8')).trim();
    const exports = output().split('\n').filter((line) => /^ +export /.test(line));
    expect(execFileSync('sh', ['-c', `${exports.join('\n')}\nprintf '%s %s' "$EXPGRAPH_URL" "$EXPGRAPH_TOKEN"`], { encoding: 'utf8' })).toBe(`${url} ${token}`);
    const log = /log +(\S+)/.exec(output())?.[1] ?? '';
    expect((await stat(log)).mode & 0o777).toBe(0o600);
    expect(await readFile(log, 'utf8')).not.toContain(token);
    const answer = await fetch(url, { method: 'POST', headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` }, body: '{"query":"{ __typename }"}' });
    expect(await answer.json()).toMatchObject({ data: { __typename: 'Query' } });
    execFileSync('sh', ['-c', /Stop it and remove everything: (.+)/.exec(output())?.[1] ?? 'false']);
    expect(await processesOf(folder)).toEqual([]);
    expect(await readdir(folder)).toEqual([]);
  }, 2 * DEMO_TIMEOUT_MS);

  test('Ctrl-C in the middle ends the running jobs, the server and its PostgreSQL', async () => {
    const { child, output, shows } = startDemo();
    await shows(/done \| .*RUNNING/);
    child.kill('SIGINT');
    expect(await exitOf(child), output()).toBe(130);
    expect(output()).toContain('interrupted; everything is stopped and removed');
    expect(await processesOf(folder)).toEqual([]);
    expect(await readdir(folder)).toEqual([]);
  }, 2 * DEMO_TIMEOUT_MS);

  test('a failing step is a message and exit code 1', async () => {
    const { child, output } = startDemo([], join(folder, 'missing'));
    expect(await exitOf(child)).toBe(1);
    expect(output()).toMatch(/^demo: .*missing/m);
  });
});

test.skipIf(process.platform !== 'linux')('SIGTERM to "npm start" reaches the server, which stops its PostgreSQL', async () => {
  const server = await startServer({ dataDirectory: folder, argv: ['npm', 'start'], workingDirectory: root, settings: { EXPGRAPH_CONFIG: '/dev/null' }, signal: new AbortController().signal });
  expect((await processesOf(folder)).map(({ command }) => command)).toContainEqual(expect.stringMatching(/bin\/postgres /));
  process.kill(server.pid, 'SIGTERM');
  await server.stop();
  expect(await processesOf(folder)).toEqual([]);
}, DEMO_TIMEOUT_MS);

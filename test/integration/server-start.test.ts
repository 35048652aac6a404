/** Starts of the built server that do not come to an end, and how it says so. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readdir, rm } from 'node:fs/promises';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { ensureBuilt } from '../cli/built.ts';
import { processesOf } from '../cli/processes.ts';

const MAIN = join(import.meta.dirname, '../../dist/server/main.js');
/** Well below what the waits take that used to be sat out (10 s for a connection, for ever for /proc). */
const PROMPT_MS = 8_000;

let dataDirectory: string;
let child: ChildProcess;
let listener: Server | undefined;

beforeAll(ensureBuilt, 60_000);
beforeEach(async () => {
  dataDirectory = await mkdtemp(join(tmpdir(), 'expgraph-start-test-'));
  await chmod(dataDirectory, 0o755);
});
afterEach(async () => {
  child.kill('SIGKILL');
  listener?.close();
  listener = undefined;
  await rm(dataDirectory, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
});

interface Started {
  output: () => string;
  /** Resolves when it wrote something that matches. */
  wrote: (words: RegExp) => Promise<void>;
  ended: Promise<number | null>;
}

function start(settings: Record<string, string> = {}, argv: string[] = []): Started {
  child = spawn(process.execPath, [MAIN, ...argv], {
    cwd: dataDirectory, stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'], HOME: process.env['HOME'], EXPGRAPH_DATA_DIR: dataDirectory, EXPGRAPH_PORT: '0', ...settings },
  });
  let output = '';
  const listeners = new Set<() => void>();
  for (const stream of [child.stdout, child.stderr]) {
    stream!.on('data', (chunk: Buffer) => {
      output += chunk.toString();
      for (const look of listeners) look();
    });
  }
  const ended = once(child, 'close').then(([code]) => code as number | null);
  const wrote = (words: RegExp) => new Promise<void>((resolve, reject) => {
    listeners.add(() => { if (words.test(output)) resolve(); });
    void ended.then(() => reject(new Error(`the server ended:\n${output}`)));
  });
  return { output: () => output, wrote, ended };
}

async function listen(): Promise<number> {
  listener = createServer().listen(0, '127.0.0.1');
  await once(listener, 'listening');
  return (listener.address() as AddressInfo).port;
}

test('a port in use is said in words, with what to do, and the database is stopped again', async () => {
  const port = await listen();
  const { ended, output } = start({ EXPGRAPH_PORT: String(port) });
  expect(await ended).toBe(1);
  expect(output()).toContain(`expgraph cannot start:\n  127.0.0.1:${port} is in use; is expgraph running already? Choose another EXPGRAPH_PORT`);
  expect(output()).not.toMatch(/^ +at /m);
  expect(await processesOf(dataDirectory)).toEqual([]);
}, 60_000);

test.skipIf(process.platform !== 'linux')('a data directory where no folder can be made is refused at once', async () => {
  const begun = performance.now();
  const { ended, output } = start({ EXPGRAPH_DATA_DIR: '/proc/x/y' });
  expect(await ended).toBe(1);
  expect(output()).toContain('expgraph cannot start:\n  /proc/x cannot be made: the file system of /proc takes no new folders');
  expect(performance.now() - begun).toBeLessThan(PROMPT_MS);
});

test('SIGTERM while it waits for a database that does not answer ends it at once', async () => {
  const port = await listen();
  const { wrote, ended, output } = start({ DATABASE_URL: `postgres://a@127.0.0.1:${port}/b` });
  const reached = once(listener!, 'connection');
  await Promise.race([reached, wrote(/never/)]);
  const begun = performance.now();
  child.kill('SIGTERM');
  expect(await ended).toBe(0);
  expect(performance.now() - begun).toBeLessThan(3_000);
  expect(output()).not.toContain('cannot start');
});

test.skipIf(process.platform !== 'linux')('SIGTERM while it makes its database ends both', async () => {
  const { ended } = start();
  await vi.waitFor(async () => expect(await readdir(join(dataDirectory, 'postgres'))).toContainEqual(expect.stringMatching(/^draft-/)), { timeout: 30_000, interval: 5 });
  child.kill('SIGTERM');
  expect(await ended).toBe(0);
  expect(await processesOf(dataDirectory)).toEqual([]);
});

test('unknown arguments are refused with the valid ones, and --help names them', async () => {
  const refused = start({}, ['--prot', '5000']);
  expect(await refused.ended).toBe(2);
  expect(refused.output()).toBe('unknown: "--prot", "5000"; valid after "npm start --" are --new-token, --help, -h\n');
  const helped = start({}, ['--help']);
  expect(await helped.ended).toBe(0);
  expect(helped.output()).toMatch(/OPTIONS\n+ +--new-token +make a token/);
});

test('says that no configuration file was found and where it looked', async () => {
  const { wrote, ended } = start();
  await wrote(new RegExp(`"configFile":"${dataDirectory}/expgraph.yaml".*"clusters":\\["local \\(LOCAL\\)"\\].*jobs run on this machine`));
  child.kill('SIGTERM');
  await ended;
});

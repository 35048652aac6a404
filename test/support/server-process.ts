/** Processes of the built server, as many as a test wants. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { stringify } from 'yaml';
import { openTestClient, type TestClient } from './graphql-client.ts';

const MAIN = join(import.meta.dirname, '../../dist/server/main.js');

export interface ServerProcess {
  pid: number;
  /** Its one line on standard output. */
  readyLine: string;
  /** Address of GraphQL; null where it only reconciles. */
  url: string | null;
  /** Opens a client with the first token of the data directory. */
  client(): Promise<TestClient>;
  /** The messages that it has logged. */
  messages(): string[];
  kill(signal: NodeJS.Signals): void;
  /** Resolves when it has ended. */
  ended: Promise<unknown>;
}

/** Makes a folder for the data and the settings of servers whose one cluster, `here`, is this machine, with changes of its settings. */
export async function openServerFolder(changes: Record<string, unknown> = {}): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'expgraph-servers-test-'));
  // PostgreSQL and jobs may run as another user.
  await chmod(folder, 0o755);
  const here = { kind: 'local', rootDirectory: join(folder, 'jobs'), maxActiveJobs: 4, pollSeconds: { min: 0.2, max: 1 }, submitGraceSeconds: 3, ...changes };
  await writeFile(join(folder, 'expgraph.yaml'), stringify({ clusters: { here } }));
  return folder;
}

/** Starts a server in a folder, which holds its expgraph.yaml, and waits until it is ready. */
export async function startServerProcess(folder: string, environment: Record<string, string>): Promise<ServerProcess> {
  const settings = { EXPGRAPH_DATA_DIR: folder, EXPGRAPH_PORT: '0', EXPGRAPH_LOG_LEVEL: 'info', ...environment };
  const child = spawn(process.execPath, [MAIN], {
    cwd: folder, stdio: ['ignore', 'pipe', 'pipe'], env: { PATH: process.env['PATH'], HOME: process.env['HOME'], ...settings },
  });
  const log: string[] = [];
  createInterface({ input: child.stderr }).on('line', (line) => log.push(line));
  const ended = once(child, 'exit');
  const line = await Promise.race([once(createInterface({ input: child.stdout }), 'line'), ended.then(() => null)]);
  if (line === null) throw new Error(`the server did not start:\n${log.join('\n')}`);
  const readyLine = String(line[0]);
  const url = /at (http\S+)/.exec(readyLine)?.[1] ?? null;
  return {
    pid: child.pid!, readyLine, url, ended,
    client: async () => openTestClient(url ?? '', (await readFile(join(settings.EXPGRAPH_DATA_DIR, 'token'), 'utf8')).trim()),
    messages: () => log.flatMap((text) => (text.startsWith('{') ? [(JSON.parse(text) as { msg: string }).msg] : [])),
    kill: (signal) => { child.kill(signal); },
  };
}

export interface SeenEvent {
  cursor: string;
  fromState: string | null;
  toState: string;
  job: { id: string };
}

export const STATE_EVENTS = `subscription ($after: String) {
  jobEvents(filter: { kinds: [JOB_STATE_CHANGED] }, after: $after) { cursor fromState toState job { id } } }`;

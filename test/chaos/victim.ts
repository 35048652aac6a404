/** A server process that is killed and started again over the same database and clusters, and a subscriber that goes on where it was. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import type { CrashPoint } from '../../src/reconcilers/crash-point.ts';
import { openTestClient, type TestClient } from '../support/graphql-client.ts';

const MAIN = join(import.meta.dirname, '../../dist/server/main.js');
const EVENTS = `subscription ($after: String) {
  jobEvents(filter: { kinds: [JOB_STATE_CHANGED] }, after: $after) { cursor fromState toState job { id } } }`;

export interface StateEvent {
  cursor: string;
  fromState: string | null;
  toState: string;
  job: { id: string };
}

export interface Victim {
  folder: string;
  /** Every state event that the subscriber has received, over all lives of the server. */
  events: StateEvent[];
  /** Starts the server; the subscriber goes on after the last event it received. */
  start(crashAt?: CrashPoint): Promise<void>;
  /** Address of GraphQL of the server that runs now. */
  url(): string;
  request<Data = any>(query: string, variables?: Record<string, unknown>): Promise<Data>;
  /** When the server has ended by itself, as at a crash point. Answers the signal that ended it. */
  died(): Promise<string | null>;
  /** `kill -9`, or TERM for an end in good order. */
  kill(signal?: 'SIGKILL' | 'SIGTERM'): Promise<void>;
  remove(): Promise<void>;
}

/** @param configText text of expgraph.yaml */
export async function openVictim(databaseUrl: string, configText: string): Promise<Victim> {
  // As the setting wants it; the socket in `host` is still what is used.
  const url = databaseUrl.replace('@/', '@localhost/');
  const folder = await mkdtemp(join(tmpdir(), 'expgraph-victim-'));
  await chmod(folder, 0o755);
  await writeFile(join(folder, 'expgraph.yaml'), configText);
  const events: StateEvent[] = [];
  let life: { url: string; child: ChildProcess; client: TestClient; ended: Promise<unknown[]>; following: Promise<void> } | null = null;

  const end = async (): Promise<string | null> => {
    if (life === null) return null;
    const { ended, client, following } = life;
    const [, signal] = await ended;
    life = null;
    await client.close();
    await following;
    return signal as string | null;
  };
  return {
    folder, events,
    async start(crashAt) {
      const env = { PATH: process.env['PATH'], HOME: process.env['HOME'], DATABASE_URL: url, EXPGRAPH_DATA_DIR: folder, EXPGRAPH_PORT: '0', EXPGRAPH_LOG_LEVEL: 'info' };
      const child = spawn(process.execPath, [MAIN], { cwd: folder, env: { ...env, ...(crashAt === undefined ? {} : { EXPGRAPH_CRASH_AT: crashAt }) }, stdio: ['ignore', 'pipe', 'pipe'] });
      let errors = '';
      child.stderr.on('data', (chunk: Buffer) => { errors = (errors + chunk.toString()).slice(-20_000); });
      const ended = once(child, 'exit');
      // A crash point may be come to before the server says that it is ready.
      const line = await Promise.race([once(createInterface({ input: child.stdout }), 'line'), ended.then(() => null)]);
      const address = /at (\S+)/.exec(String(line?.[0]))?.[1];
      if (address === undefined && child.signalCode !== 'SIGKILL') throw new Error(`the server did not start: ${errors}`);
      const client = openTestClient(address ?? 'http://127.0.0.1:1/graphql', (await readFile(join(folder, 'token'), 'utf8')).trim());
      life = { url: address ?? '', child, client, ended, following: address === undefined ? Promise.resolve() : follow(client, events, () => child.exitCode !== null || child.signalCode !== null) };
    },
    url() {
      if (life === null) throw new Error('the server does not run');
      return life.url;
    },
    request(query, variables) {
      if (life === null) throw new Error('the server does not run');
      return life.client.request(query, variables);
    },
    died: end,
    async kill(signal = 'SIGKILL') {
      life?.child.kill(signal);
      await end();
    },
    async remove() {
      life?.child.kill('SIGTERM');
      await end();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/**
 * As a careful client: an event that came with errors (its job could not be read while the database was away) does not count,
 * and is asked for again by the cursor before it. Ends, without an error, with the server.
 */
async function follow(client: TestClient, events: StateEvent[], hasEnded: () => boolean): Promise<void> {
  while (!hasEnded()) {
    try {
      for await (const { data, errors } of client.ws.iterate<{ jobEvents: StateEvent }>({ query: EVENTS, variables: { after: events.at(-1)?.cursor ?? '0' } })) {
        if (errors || !data) break;
        events.push(data.jobEvents);
      }
    } catch {
      // The connection was lost with the server, or the stream ended with a coded error: on to the next try.
    }
    await delay(100);
  }
}

/** PostgreSQL goes away under a running server, for some time, and comes back. */
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { createClient, NetworkError } from 'graphql-sse';
import type { FormattedExecutionResult, GraphQLError } from 'graphql';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { connect } from '../../src/db/connect.ts';
import { startEmbeddedPostgres, type EmbeddedPostgres } from '../../src/db/embedded-postgres.ts';
import { ensureBuilt } from '../cli/built.ts';
import { until } from '../rig/processes.ts';
import type { TestClient } from '../support/graphql-client.ts';
import { openServerFolder, startServerProcess, STATE_EVENTS, type SeenEvent, type ServerProcess } from '../support/server-process.ts';

const AWAY_MS = 15_000;
/** What the README promises for a server that refuses connections. */
const PROMPT_MS = 5_000;
const JOBS = 40;

let folder: string;
let postgres: EmbeddedPostgres;
let server: ServerProcess;
let client: TestClient;
let token: string;
let isOver = false;

beforeAll(async () => {
  await ensureBuilt();
  folder = await openServerFolder();
  postgres = await startPostgres();
  server = await startServerProcess(folder, { DATABASE_URL: postgres.url.replace('@/', '@localhost/') });
  client = await server.client();
  token = (await readFile(join(folder, 'token'), 'utf8')).trim();
}, 120_000);
afterAll(async () => {
  isOver = true;
  await client?.close();
  server?.kill('SIGTERM');
  await server?.ended;
  await postgres?.stop();
  await rm(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
}, 60_000);

function startPostgres(): Promise<EmbeddedPostgres> {
  return startEmbeddedPostgres({ dataDirectory: join(folder, 'postgres') });
}

async function post(query: string): Promise<{ status: number; json: { data?: any; errors?: { extensions: { code: string } }[] } }> {
  const response = await fetch(server.url!, {
    method: 'POST', headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` }, body: JSON.stringify({ query }), signal: AbortSignal.timeout(PROMPT_MS),
  });
  return { status: response.status, json: await response.json() as never };
}

/** As after a power cut. */
async function crashPostgres(): Promise<void> {
  const pid = Number((await readFile(join(folder, 'postgres', 'data-18', 'postmaster.pid'), 'utf8')).split('\n')[0]);
  process.kill(pid, 'SIGQUIT');
  await postgres.stop();
}

async function probe(path: string): Promise<{ status: number; json: any }> {
  const response = await fetch(new URL(path, server.url!), { signal: AbortSignal.timeout(PROMPT_MS) });
  return { status: response.status, json: await response.json() };
}

interface Story {
  events: SeenEvent[];
  /** Codes with which streams ended. */
  ends: string[];
}

/** Asks all the time. Answers what it was told, each thing once. */
async function askAllTheTime(): Promise<Set<string>> {
  const outcomes = new Set<string>();
  while (!isOver) {
    const { json } = await post('{ jobs(first: 5) { totalCount nodes { id attempts { number } } } experiments { nodes { progress { done } } } }');
    for (const { extensions } of json.errors ?? []) outcomes.add(extensions.code);
    if (json.errors === undefined) outcomes.add('ok');
    // The jobs and both servers need the machine, too.
    await delay(20);
  }
  return outcomes;
}

/** Goes on from the last cursor whenever the stream has ended. An event that is not whole is a failure. */
function follow(open: (after: string) => AsyncIterable<FormattedExecutionResult>): { story: Story; ended: Promise<void> } {
  const story: Story = { events: [], ends: [] };
  const run = async (): Promise<void> => {
    while (!isOver) {
      try {
        for await (const { data, errors } of open(story.events.at(-1)?.cursor ?? '0')) {
          if (errors !== undefined && data === undefined) throw errors;
          const event = (data as { jobEvents: SeenEvent } | null)?.jobEvents;
          if (errors !== undefined || typeof event?.job?.id !== 'string') throw new Error(`not whole: ${JSON.stringify({ data, errors })}`);
          story.events.push(event);
        }
      } catch (error) {
        story.ends.push(await codeOf(error));
      }
    }
  };
  return { story, ended: run() };
}

async function codeOf(error: unknown): Promise<string> {
  const errors = error instanceof NetworkError ? (await (error.response as Response).json()).errors : error;
  const [first] = Array.isArray(errors) ? errors as GraphQLError[] : [];
  if (first !== undefined) return String(first.extensions?.['code']);
  if (error instanceof Error) return error.message;
  return `closed with ${(error as { code?: number }).code}`;
}

test('while PostgreSQL is away requests say so at once; after that, and after it has crashed, nothing is missing and nothing is doubled', async () => {
  const asking = askAllTheTime();
  const sse = createClient({ url: server.url!, headers: { authorization: `Bearer ${token}` }, retryAttempts: 0 });
  const followers = [
    follow((after) => client.ws.iterate({ query: STATE_EVENTS, variables: { after } })),
    follow((after) => sse.iterate({ query: STATE_EVENTS, variables: { after } })),
  ];
  const executions = join(folder, 'executions');
  const submitted = await client.request('mutation ($input: SubmitSweepInput!) { submitSweep(input: $input) { jobs { jobId } userErrors { message } } }', { input: {
    project: 'tests', experiment: 'outage', name: 'outage', command: ['sh', '-c', 'echo "$EXPGRAPH_JOB_ID" >> "$1"; sleep 0.5', 'sh', executions],
    space: { seeds: { values: Array.from({ length: JOBS }, (_, seed) => seed) } },
  } });
  const ids = (submitted.submitSweep.jobs as { jobId: string }[]).map(({ jobId }) => jobId);
  const completed = (count: number): boolean => followers.every(({ story }) => story.events.filter(({ toState }) => toState === 'COMPLETED').length >= count);
  await until('some jobs to end', 60_000, () => completed(4));

  await postgres.stop();
  const awayAt = Date.now();
  let answers = 0;
  await until('the time without PostgreSQL to be over', AWAY_MS + 60_000, async () => {
    for (const query of ['{ jobs(first: 1) { nodes { id } } }', 'mutation { createToken(input: { name: "x", scopes: [READ] }) { token } }']) {
      const { status, json } = await post(query);
      expect({ status, code: json.errors?.[0]?.extensions.code }).toEqual({ status: 503, code: 'DATABASE_UNAVAILABLE' });
      answers += 1;
    }
    return Date.now() - awayAt > AWAY_MS;
  });
  expect(answers).toBeGreaterThan(4);
  expect(await probe('/readyz')).toMatchObject({ status: 503, json: { status: 'unavailable', checks: { database: expect.stringContaining('failed'), reconcilers: expect.stringContaining('no database connection') } } });
  expect((await probe('/healthz')).status).toBe(200);

  postgres = await startPostgres();
  const backAt = Date.now();
  await until('requests to be answered again', 30_000, async () => (await post('{ jobs(first: 1) { nodes { id } } }')).status === 200);
  await until('the loops to be ready', 30_000, async () => (await probe('/readyz')).status === 200);
  expect(Date.now() - backAt).toBeLessThan(20_000);

  await until('more jobs to end', 60_000, () => completed(16));
  await crashPostgres();
  postgres = await startPostgres();
  await until('all jobs to have ended for both subscribers', 120_000, () => completed(JOBS));
  isOver = true;
  await client.close();
  sse.dispose();
  await Promise.all(followers.map(({ ended }) => ended));
  expect([...await asking].sort()).toEqual(['DATABASE_UNAVAILABLE', 'ok']);
  const { pool, close } = await connect(postgres.url, { max: 1 });
  const { rows } = await pool.query<{ seq: string }>("select seq from events where kind = 'JOB_STATE_CHANGED' order by seq");
  const states = await pool.query("select state, count(*)::int as count from jobs group by state");
  await close();
  expect(states.rows).toEqual([{ state: 'COMPLETED', count: JOBS }]);
  expect((await readFile(executions, 'utf8')).trim().split('\n').sort()).toEqual([...ids].sort());
  for (const { story } of followers) {
    expect(story.events.map(({ cursor }) => cursor)).toEqual(rows.map(({ seq }) => seq));
    expect(story.ends.filter((end) => !/^(DATABASE_UNAVAILABLE|closed with 1013)$/.test(end))).toEqual([]);
  }
}, 300_000);

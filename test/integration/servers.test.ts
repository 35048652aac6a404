/** Several processes of the built server over one database, each with one role. */
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ensureBuilt } from '../cli/built.ts';
import { until } from '../rig/processes.ts';
import { testDatabase, type TestDatabase } from '../support/database.ts';
import type { TestClient } from '../support/graphql-client.ts';
import { openServerFolder, startServerProcess, STATE_EVENTS, type SeenEvent, type ServerProcess } from '../support/server-process.ts';

const SUBMIT = 'mutation ($input: SubmitSweepInput!) { submitSweep(input: $input) { sweep { id } jobs { jobId } userErrors { message } } }';
const HELD = 'reconciling this cluster';
const LOST = 'lost the connection that holds the cluster lock';

let db: TestDatabase;
let folder: string;
let apis: ServerProcess[];
let reconcilers: ServerProcess[];
let clients: TestClient[];
const all: ServerProcess[] = [];

async function start(roles: string, environment: Record<string, string> = {}): Promise<ServerProcess> {
  const server = await startServerProcess(folder, { DATABASE_URL: db.url.replace('@/', '@localhost/'), EXPGRAPH_ROLES: roles, ...environment });
  all.push(server);
  return server;
}

beforeAll(async () => {
  await ensureBuilt();
  db = await testDatabase('template0');
  folder = await openServerFolder();
  // All at once, on a database without a single table.
  const [api1, api2, reconciler1, reconciler2] = await Promise.all([start('api'), start('api'), start('reconcile'), start('reconcile')]);
  apis = [api1, api2];
  reconcilers = [reconciler1, reconciler2];
  clients = await Promise.all(apis.map((api) => api.client()));
}, 120_000);
afterAll(async () => {
  for (const client of clients ?? []) await client.close();
  for (const server of all) {
    server.kill('SIGCONT');
    server.kill('SIGTERM');
  }
  await Promise.all(all.map(({ ended }) => ended));
  await db?.drop();
  await rm(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
}, 60_000);

/** How often a process has become the reconciler of the cluster. */
const termsOf = (server: ServerProcess): number => server.messages().filter((message) => message === HELD).length;
const holder = async (): Promise<number | null> => {
  const { rows } = await db.pool.query<{ pid: number }>(
    "select l.pid from pg_locks l join pg_stat_activity a using (pid) where l.locktype = 'advisory' and l.granted and a.application_name = 'expgraph lock here' and a.datname = current_database()");
  expect(rows.length).toBeLessThanOrEqual(1);
  return rows[0]?.pid ?? null;
};

async function submit(name: string, count: number, seconds: number): Promise<string[]> {
  const { submitSweep } = await clients[0]!.request(SUBMIT, { input: {
    project: 'tests', experiment: 'servers', name, command: ['sh', '-c', 'echo "$EXPGRAPH_JOB_ID" >> "$1"; sleep "$2"', 'sh', join(folder, 'executions'), String(seconds)],
    space: { base: { name }, seeds: { values: Array.from({ length: count }, (_, seed) => seed) } },
  } });
  expect(submitSweep.userErrors).toEqual([]);
  return (submitSweep.jobs as { jobId: string }[]).map(({ jobId }) => jobId);
}

const stateCounts = async (ids: string[]): Promise<Record<string, number>> => {
  const { rows } = await db.pool.query<{ state: string; count: number }>('select state, count(*)::int as count from jobs where id = any($1) group by state', [ids]);
  return Object.fromEntries(rows.map(({ state, count }) => [state, count]));
};

async function expectEachRanOnce(ids: string[]): Promise<void> {
  await until('all jobs to complete', 90_000, async () => (await stateCounts(ids))['COMPLETED'] === ids.length);
  const executions = (await readFile(join(folder, 'executions'), 'utf8')).trim().split('\n').filter((id) => ids.includes(id));
  expect(executions.sort()).toEqual([...ids].sort());
}

test('started at once on an empty database, they all become ready, with one first token and one reconciler', async () => {
  expect((await db.pool.query('select name from tokens')).rows).toEqual([{ name: 'admin' }]);
  for (const server of all) expect(server.readyLine).toContain(`(token file: ${join(folder, 'token')})`);
  for (const client of clients) expect(await client.request('{ viewer { tokenName } }')).toEqual({ viewer: { tokenName: 'admin' } });
  await until('a reconciler', 20_000, async () => await holder() !== null);
  expect(reconcilers.map(termsOf).sort()).toEqual([0, 1]);
  // One that has a data directory of its own says that the token is elsewhere.
  const apart = await start('api', { EXPGRAPH_DATA_DIR: join(folder, 'apart') });
  expect(apart.readyLine).toMatch(/the token file .* is missing; start once with --new-token if nobody has a token/);
  apart.kill('SIGTERM');
  await apart.ended;
});

test('what is submitted to one server, the other shows at once, and subscribers of both are told all, in order', async () => {
  const ids = await submit('seen by both', 6, 0.2);
  const { jobs } = await clients[1]!.request('query ($ids: [ID!]) { jobs(filter: { ids: $ids }) { totalCount } }', { ids });
  expect(jobs.totalCount).toBe(6);
  const stories = await Promise.all(clients.map((client) => follow(client, (events) => events.filter(({ toState }) => toState === 'COMPLETED').length === 6)));
  const { rows } = await db.pool.query<{ seq: string }>("select seq from events where kind = 'JOB_STATE_CHANGED' order by seq");
  for (const story of stories) expect(story.map(({ cursor }) => cursor)).toEqual(rows.map(({ seq }) => seq));
  // What one server gave out as a cursor, the other goes on from.
  const half = stories[0]![stories[0]!.length / 2]!;
  const rest = await follow(clients[1]!, (events) => events.at(-1)?.cursor === rows.at(-1)!.seq, half.cursor);
  expect(rest.map(({ cursor }) => Number(cursor))).toEqual(rows.map(({ seq }) => Number(seq)).filter((seq) => seq > Number(half.cursor)));
});

test('a token that is revoked on one server is refused by the other within seconds', async () => {
  const { createToken } = await clients[0]!.request('mutation { createToken(input: { name: "leaver", scopes: [READ] }) { token } }');
  const ask = async (): Promise<number> => (await fetch(apis[1]!.url!, {
    method: 'POST', headers: { 'content-type': 'application/json', authorization: `Bearer ${createToken.token}` }, body: '{"query":"{ __typename }"}',
  })).status;
  expect(await ask()).toBe(200);
  await clients[0]!.request('mutation { revokeToken(input: { name: "leaver" }) { name } }');
  const revokedAt = Date.now();
  await until('the token to be refused', 20_000, async () => await ask() === 401);
  expect(Date.now() - revokedAt).toBeLessThan(10_000);
});

test('when the reconciler is killed, its database connection cut, or the process stopped and woken, another takes over in seconds, and each job runs once', async () => {
  const ids = await submit('taken over', 40, 1);
  const running = (): Promise<void> => until('jobs to run', 30_000, async () => (await stateCounts(ids))['RUNNING'] !== undefined);
  const takenOver = (termCounts: number[], withinMs: number): Promise<void> =>
    until('a takeover', withinMs, () => reconcilers.some((server, index) => termsOf(server) > termCounts[index]!));
  const counts = (): number[] => reconcilers.map(termsOf);
  const present = (): number => reconcilers.findIndex((server) => termsOf(server) > 0);

  await running();
  let before = counts();
  const killed = present();
  reconcilers[killed]!.kill('SIGKILL');
  await takenOver(before, 20_000);
  reconcilers[killed] = await start('reconcile');

  await running();
  before = counts();
  expect((await db.pool.query('select pg_terminate_backend($1)', [await holder()])).rowCount).toBe(1);
  await takenOver(before, 20_000);

  await running();
  before = counts();
  const lastWords = reconcilers.map((server) => server.messages().filter((message) => message === HELD || message === LOST).at(-1));
  const stopped = reconcilers[lastWords.indexOf(HELD)]!;
  const losses = (): number => stopped.messages().filter((message) => message === LOST).length;
  const lossesBefore = losses();
  stopped.kill('SIGSTOP');
  // PostgreSQL waits 10 s for a silent holder, and 30 s for one that was stopped within a transaction; the others ask every 2 s.
  await takenOver(before, 45_000);
  await running();
  stopped.kill('SIGCONT');
  await until('the woken process to notice', 20_000, () => losses() > lossesBefore);
  await expectEachRanOnce(ids);
  expect(await holder()).not.toBeNull();
}, 240_000);

/** Everything after the cursor until `done` says so; an event with errors or without its job is a failure. */
async function follow(client: TestClient, done: (events: SeenEvent[]) => boolean, after = '0'): Promise<SeenEvent[]> {
  const events: SeenEvent[] = [];
  for await (const { data, errors } of client.ws.iterate<{ jobEvents: SeenEvent }>({ query: STATE_EVENTS, variables: { after } })) {
    expect(errors).toBeUndefined();
    expect(data?.jobEvents.job.id).toMatch(/^[0-9a-f-]{36}$/);
    events.push(data!.jobEvents);
    if (done(events)) break;
  }
  return events;
}

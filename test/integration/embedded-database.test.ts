/** The embedded PostgreSQL is killed under a running server, which starts it again. */
import { readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ensureBuilt } from '../cli/built.ts';
import { until } from '../rig/processes.ts';
import type { TestClient } from '../support/graphql-client.ts';
import { openServerFolder, startServerProcess, type ServerProcess } from '../support/server-process.ts';

const JOBS = 24;

let folder: string;
let server: ServerProcess;
let client: TestClient;
let token: string;
let isOver = false;

beforeAll(async () => {
  await ensureBuilt();
  folder = await openServerFolder();
  server = await startServerProcess(folder, {});
  client = await server.client();
  token = (await readFile(join(folder, 'token'), 'utf8')).trim();
}, 120_000);
afterAll(async () => {
  isOver = true;
  await client?.close();
  server?.kill('SIGTERM');
  await server?.ended;
  await rm(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
}, 60_000);

const data = (): string => join(folder, 'postgres', 'data-18');
const postmasterPid = async (): Promise<number> => Number((await readFile(join(data(), 'postmaster.pid'), 'utf8').catch(() => '')).split('\n')[0]);

const readiness = async (): Promise<number> => (await fetch(new URL('/readyz', server.url!))).status;

/** What requests were told. */
const outcomes = new Set<string>();

async function askAllTheTime(): Promise<void> {
  while (!isOver) {
    const response = await fetch(server.url!, {
      method: 'POST', headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` }, body: JSON.stringify({ query: '{ jobs(first: 5) { totalCount } }' }),
    });
    const { errors = [] } = await response.json() as { errors?: { extensions: { code: string } }[] };
    outcomes.add(errors[0]?.extensions.code ?? 'ok');
    await delay(5);
  }
}

test('each time it is killed it comes back by itself; meanwhile requests say so, and no job is lost or run twice', async () => {
  const executions = join(folder, 'executions');
  const { submitSweep } = await client.request('mutation ($input: SubmitSweepInput!) { submitSweep(input: $input) { jobs { jobId } userErrors { message } } }', { input: {
    project: 'tests', experiment: 'killed', name: 'killed', command: ['sh', '-c', 'echo "$EXPGRAPH_JOB_ID" >> "$1"; sleep 0.5', 'sh', executions],
    space: { seeds: { values: Array.from({ length: JOBS }, (_, seed) => seed) } },
  } });
  const ids = (submitSweep.jobs as { jobId: string }[]).map(({ jobId }) => jobId);
  const asking = askAllTheTime();
  const completed = async (): Promise<number> => (await client.request('{ jobs(filter: { states: [COMPLETED] }) { totalCount } }')).jobs.totalCount as number;
  const isBack = async (killed: number): Promise<boolean> => ![0, killed].includes(await postmasterPid()) && await readiness() === 200;
  for (const count of [1, 6]) {
    await until(`${count} jobs to have ended`, 120_000, async () => await completed() >= count);
    const killed = await postmasterPid();
    process.kill(killed, 'SIGKILL');
    await until('the server to be ready again', 120_000, () => isBack(killed));
  }
  await until('more jobs to have ended', 120_000, async () => await completed() >= 12);
  const killed = await postmasterPid();
  // Until this is put back it cannot start.
  await rename(data(), `${data()}.away`);
  process.kill(killed, 'SIGKILL');
  await until('the server to say that it is not ready', 60_000, async () => await readiness() === 503);
  await until('a request to say so', 60_000, () => outcomes.has('DATABASE_UNAVAILABLE'));
  await until('a vain start', 60_000, () => server.messages().includes('the database server does not start; it is tried again'));
  await rename(`${data()}.away`, data());
  await until('the server to be ready again', 120_000, () => isBack(killed));
  await until('all jobs to have ended', 180_000, async () => await completed() === JOBS);
  isOver = true;
  await asking;
  expect([...outcomes].sort()).toEqual(['DATABASE_UNAVAILABLE', 'ok']);
  expect((await readFile(executions, 'utf8')).trim().split('\n').sort()).toEqual([...ids].sort());
  expect(server.messages().filter((message) => message === 'the database server runs again')).toHaveLength(3);
}, 600_000);

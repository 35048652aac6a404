/** The server dies by `kill -9` while points come in; the same points again make everything exact. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ensureBuilt } from '../cli/built.ts';
import { until } from '../rig/processes.ts';
import { testDatabase, type TestDatabase } from '../support/database.ts';
import { startServerProcess, type ServerProcess } from '../support/server-process.ts';

const SUBMIT = 'mutation ($input: SubmitSweepInput!) { submitSweep(input: $input) { jobs { jobId } userErrors { message } } }';
const RECORD = 'mutation ($input: RecordMetricsInput!) { recordMetrics(input: $input) { pointCount userErrors { message } } }';
const KEYS = ['loss', 'val/loss'];
const STEPS = 30_000;
const STEPS_PER_PIECE = 5_000;

let db: TestDatabase;
let folder: string;
let server: ServerProcess;
let token: string;

const start = (): Promise<ServerProcess> => startServerProcess(folder, { DATABASE_URL: db.url.replace('@/', '@localhost/'), EXPGRAPH_ROLES: 'api' });

beforeAll(async () => {
  await ensureBuilt();
  db = await testDatabase();
  folder = await mkdtemp(join(tmpdir(), 'expgraph-ingest-kill-'));
  server = await start();
  token = (await readFile(join(folder, 'token'), 'utf8')).trim();
}, 120_000);
afterAll(async () => {
  server?.kill('SIGTERM');
  await server?.ended;
  await db?.drop();
  await rm(folder, { recursive: true, force: true });
});

async function heldJobs(experiment: string, count: number): Promise<string[]> {
  const client = await server.client();
  const space = { seeds: { values: Array.from({ length: count }, (_, seed) => seed) } };
  const { submitSweep } = await client.request(SUBMIT, { input: { project: 'p', experiment, name: 's', held: true, command: ['true'], space } });
  await client.close();
  expect(submitSweep.userErrors).toEqual([]);
  return submitSweep.jobs.map(({ jobId }: { jobId: string }) => jobId);
}

const valueAt = (step: number): number => Math.abs(step - 12_345);
const piece = (from: number) => {
  const steps = Array.from({ length: STEPS_PER_PIECE }, (_, index) => from + index);
  return { steps, values: steps.map(valueAt) };
};
const PIECES = Array.from({ length: STEPS / STEPS_PER_PIECE }, (_, index) => index * STEPS_PER_PIECE);

async function countOf(jobIds: string[]): Promise<number> {
  return (await db.pool.query<{ count: number }>('select count(*)::int as count from metric_points where job_id = any($1)', [jobIds])).rows[0]!.count;
}

/** Kills the server once the jobs have more than so many points. */
async function killBeyond(count: number, jobIds: string[]): Promise<void> {
  await until(`more than ${count} points`, 120_000, async () => await countOf(jobIds) > count);
  server.kill('SIGKILL');
  await server.ended;
}

async function expectExact(jobIds: string[]): Promise<void> {
  const points = jobIds.length * KEYS.length * STEPS;
  expect(await countOf(jobIds)).toBe(points);
  const { rows } = await db.pool.query(`select point_count::int as count, last_step::int as last, min_value, min_step::int, max_value, max_step::int,
      (select sum(point_count)::int from metric_buckets where job_id = series.job_id and series_number = series.series_number and level = 9) = bucketed_below_step as "bucketsAreExact"
    from metric_series series where job_id = any($1)`, [jobIds]);
  expect(rows).toEqual(Array.from({ length: jobIds.length * KEYS.length }, () => (
    { count: STEPS, last: STEPS - 1, min_value: 0, min_step: 12_345, max_value: 17_654, max_step: STEPS - 1, bucketsAreExact: true })));
}

test('through the bulk endpoint', async () => {
  const jobIds = await heldJobs('bulk', 4);
  const lines = PIECES.flatMap((from) => jobIds.flatMap((job_id) => KEYS.map((key) => `${JSON.stringify({ job_id, key, ...piece(from) })}\n`)));
  const send = async (body: Iterable<string> | AsyncIterable<string>): Promise<unknown> => {
    const outgoing = request(server.url!.replace(/graphql$/, 'ingest/metrics'), { method: 'POST', headers: { 'content-type': 'application/x-ndjson', authorization: `Bearer ${token}` } });
    const answered = new Promise<string>((resolve, reject) => {
      outgoing.on('error', reject).on('response', (response) => { response.setEncoding('utf8').toArray().then((parts) => resolve(parts.join('')), reject); });
    });
    const [answer] = await Promise.all([answered, pipeline(Readable.from(body), outgoing)]);
    return JSON.parse(answer);
  };
  for (const killedBeyond of [0, 60_000]) {
    let killed!: () => void;
    const isKilled = new Promise<void>((resolve) => { killed = resolve; });
    // The last lines are never sent: whenever the server dies, it dies while points come in.
    const most = async function* (): AsyncGenerator<string> {
      yield* lines.slice(0, -8);
      await isKilled;
    };
    const sent = send(most()).then(() => null, (error: unknown) => error);
    await killBeyond(killedBeyond, jobIds);
    killed();
    expect(await sent).toBeInstanceOf(Error);
    server = await start();
  }
  const whole = { pointCount: jobIds.length * KEYS.length * STEPS, rejectedCount: 0, rejected: [] };
  expect(await send(lines)).toEqual(whole);
  await expectExact(jobIds);
  expect(await send(lines)).toEqual(whole);
  await expectExact(jobIds);
}, 400_000);

test('through the mutation', async () => {
  const jobIds = await heldJobs('mutation', 4);
  const record = async (pieces: Iterable<number>): Promise<void> => {
    const client = await server.client();
    try {
      for (const from of pieces) {
        const answers = await Promise.all(jobIds.map((jobId) => client.request(RECORD, { input: { jobId, series: KEYS.map((key) => ({ key, ...piece(from) })) } })));
        for (const { recordMetrics } of answers) expect(recordMetrics).toEqual({ pointCount: KEYS.length * STEPS_PER_PIECE, userErrors: [] });
      }
    } finally {
      await client.close();
    }
  };
  // Without end: whenever the server dies, it dies while points come in.
  const again = function* (): Generator<number> {
    for (;;) yield* PIECES;
  };
  const interrupted = record(again()).then(() => null, (error: unknown) => error);
  await killBeyond(0, jobIds);
  expect(await interrupted).toBeInstanceOf(Error);
  server = await start();
  await record(PIECES);
  await expectExact(jobIds);
}, 400_000);

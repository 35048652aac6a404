/** Several clients send metrics at the same time: the same stream, or different ones for the same series; and attempts of a job overwrite each other. */
import { Float64, Int32, Int64, Table, tableToIPC, Utf8, vectorFromArray } from 'apache-arrow';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { recordMetrics } from '../../src/actions/record-metrics.ts';
import { actionContext, freshJobs } from '../support/actions.ts';
import { lines as objectsOf } from './export-support.ts';
import { startHttp, type TestHttp } from './support.ts';

const STEPS = 12_000;
const PIECE = 500;
const KEYS = ['loss', 'acc'];

let http: TestHttp;
let context: ReturnType<typeof actionContext>;
let freshJob: () => string;
beforeAll(async () => {
  http = await startHttp();
  context = actionContext(http.database);
  freshJob = await freshJobs({ context }, 20);
});
afterAll(() => http.stop());

interface Points { jobId: string; attempt: number; key: string; steps: number[]; values: number[] }

/** Pieces of the curves of jobs, interleaved; `from` shifts where the client begins, so that no two go in the same order. */
function piecesOf(jobs: string[], { from = 0, offset = 0 } = {}): Points[] {
  const pieces: Points[] = [];
  for (let start = 0; start < STEPS; start += PIECE) {
    const steps = Array.from({ length: PIECE }, (_, index) => (start + from + index) % STEPS);
    for (const jobId of jobs) for (const key of KEYS) pieces.push({ jobId, attempt: 1, key, steps, values: steps.map((step) => step + offset) });
  }
  return pieces;
}

async function post(body: string | Uint8Array, type: string): Promise<unknown> {
  const response = await fetch(`${http.url}/ingest/metrics`, { method: 'POST', body: body as BodyInit, headers: { 'content-type': type, authorization: `Bearer ${http.tokens.writer}` } });
  return response.json();
}

const byNdjson = (pieces: Points[]): Promise<unknown> => post(pieces.map(({ jobId, ...columns }) => `${JSON.stringify({ job_id: jobId, ...columns })}\n`).join(''), 'application/x-ndjson');

function byArrow(pieces: Points[]): Promise<unknown> {
  const rows = pieces.flatMap(({ jobId, attempt, key, steps, values }) => steps.map((step, index) => ({ jobId, attempt, key, step: BigInt(step), value: values[index]! })));
  const table = new Table({
    job_id: vectorFromArray(rows.map(({ jobId }) => jobId), new Utf8()), key: vectorFromArray(rows.map(({ key }) => key), new Utf8()),
    step: vectorFromArray(rows.map(({ step }) => step), new Int64()), value: vectorFromArray(rows.map(({ value }) => value), new Float64()),
    attempt: vectorFromArray(rows.map(({ attempt }) => attempt), new Int32()),
  });
  return post(tableToIPC(table, 'stream'), 'application/vnd.apache.arrow.stream');
}

async function byMutation(pieces: Points[]): Promise<unknown> {
  let pointCount = 0;
  for (const { jobId, attempt, ...series } of pieces) pointCount += (await recordMetrics(context, { jobId, attempt, series: [series] })).pointCount;
  return { pointCount, rejectedCount: 0, rejected: [] };
}

const WAYS: [string, (pieces: Points[]) => Promise<unknown>][] = [['NDJSON', byNdjson], ['Arrow', byArrow], ['the mutation', byMutation]];
const taken = (count: number) => ({ pointCount: count, rejectedCount: 0, rejected: [] });

/** Points, summary and buckets of each metric of a job. */
async function stored(jobId: string): Promise<unknown[]> {
  const { rows } = await http.database.execute(sql`
    select key, point_count::int, last_value, min_value, max_value, (select count(*)::int from metric_points p where p.job_id = s.job_id and p.series_number = s.series_number) as points,
      (select sum(point_count)::int from metric_buckets b where b.job_id = s.job_id and b.series_number = s.series_number and level = 0) = bucketed_below_step as buckets_hold_all
    from metric_series s where job_id = ${jobId} order by key desc`);
  return rows;
}

const wholeCurves = KEYS.map((key) => ({ key, point_count: STEPS, last_value: STEPS - 1, min_value: 0, max_value: STEPS - 1, points: STEPS, buckets_hold_all: true }));

describe.each(WAYS)('at the same time, by %s', (_, send) => {
  test('the same points of several jobs from three clients, each beginning elsewhere, count once', async () => {
    const jobs = [freshJob(), freshJob()];
    const orders = [jobs, jobs.toReversed(), jobs];
    const answers = await Promise.all(orders.map((order, client) => send(piecesOf(order, { from: client * 4_500 }))));
    expect(answers).toEqual(orders.map(() => taken(STEPS * KEYS.length * jobs.length)));
    for (const job of jobs) expect(await stored(job)).toEqual(wholeCurves);
  });
});

test('by different ways at once, different parts of the same series come to one whole', async () => {
  const job = freshJob();
  const third = (index: number): Points[] => piecesOf([job]).filter((_, piece) => piece % 3 === index);
  await Promise.all([byNdjson(third(0)), byArrow(third(1)), byMutation(third(2)), byNdjson(third(1))]);
  expect(await stored(job)).toEqual(wholeCurves);
});

describe.each(WAYS)('a resumed attempt, by %s', (_, send) => {
  test('overwrites what the earlier one logged at the same steps, whenever either comes in, and both histories can be exported', async () => {
    const job = freshJob();
    await http.database.execute(sql`update jobs set attempt_count = 2 where id = ${job}`);
    const part = (attempt: number, from: number, to: number): Points[] => {
      const steps = Array.from({ length: to - from }, (__, index) => from + index);
      return [{ jobId: job, attempt, key: 'loss', steps, values: steps.map((step) => 100 * attempt + step) }];
    };
    // The end of the first comes late; the second goes on from step 3.
    for (const points of [part(1, 0, 4), part(2, 3, 8), part(1, 4, 6), part(2, 3, 8)]) expect(await send(points)).toEqual(taken(points[0]!.steps.length));
    const { rows: [summary] } = await http.database.execute(sql`select point_count::int, last_value, min_value, max_value from metric_series where job_id = ${job}`);
    expect(summary).toEqual({ point_count: 8, last_value: 207, min_value: 100, max_value: 207 });
    const exported = async (query: string): Promise<[number, number, number][]> => {
      const response = await fetch(`${http.url}/export/job/${job}/metrics.jsonl${query}`, { headers: { authorization: `Bearer ${http.tokens.reader}` } });
      return objectsOf(Buffer.from(await response.arrayBuffer())).map(({ step, attempt, value }) => [step, attempt, value]);
    };
    const first = [0, 1, 2, 3, 4, 5].map((step) => [step, 1, 100 + step]);
    const second = [3, 4, 5, 6, 7].map((step) => [step, 2, 200 + step]);
    expect(await exported('')).toEqual([...first.slice(0, 3), ...second]);
    const all = await exported('?attempts=all');
    expect(all.filter(([, attempt]) => attempt === 1)).toEqual(first);
    expect(all.filter(([, attempt]) => attempt === 2)).toEqual(second);
  });
});

/** What one request, and one job, may hold: the same by the mutation and by the bulk endpoint as by files. */
import { Float64, Int64, Table, tableToIPC, Utf8, vectorFromArray } from 'apache-arrow';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { recordMetrics } from '../../src/actions/record-metrics.ts';
import { droppedOfJobs } from '../../src/db/read/dropped-items.ts';
import { CollectedPoints } from '../../src/http/ingest/collected-points.ts';
import { actionContext, freshJobs } from '../support/actions.ts';
import { startHttp, type TestHttp } from './support.ts';

const NDJSON = 'application/x-ndjson';
const ARROW = 'application/vnd.apache.arrow.stream';
const MAX_SERIES = 20_000;

let http: TestHttp;
let freshJob: () => string;
beforeAll(async () => {
  http = await startHttp();
  freshJob = await freshJobs({ context: actionContext(http.database) }, 10);
});
afterAll(() => http.stop());

async function post(body: string | Uint8Array, type: string): Promise<{ status: number; json: any }> {
  const response = await fetch(`${http.url}/ingest/metrics`, { method: 'POST', body: body as BodyInit, headers: { 'content-type': type, authorization: `Bearer ${http.tokens.writer}` } });
  return { status: response.status, json: await response.json() };
}

/** A job with as many metrics as it may have but two. */
async function nearlyFullJob(): Promise<string> {
  const jobId = freshJob();
  await http.database.execute(sql`insert into metric_series (job_id, key, series_number) select ${jobId}, 'known ' || number, number from generate_series(1, ${MAX_SERIES - 2}) as number`);
  return jobId;
}

interface Sent {
  /** Points that were taken. */
  taken: number;
  /** What the answer says of the others. */
  refused: unknown;
}

/** A point of each metric at a step. */
async function byMutation(jobId: string, keys: string[], step: number): Promise<Sent> {
  const { pointCount, refusedPointCount } = await recordMetrics({ database: http.database }, { jobId, series: keys.map((key) => ({ key, steps: [step], values: [step] })) });
  return { taken: pointCount, refused: refusedPointCount };
}

async function byNdjson(jobId: string, keys: string[], step: number): Promise<Sent> {
  const { json } = await post(keys.map((key) => `${JSON.stringify({ job_id: jobId, step, [key]: step })}\n`).join(''), NDJSON);
  return { taken: json.pointCount, refused: json.rejected };
}

async function byArrow(jobId: string, keys: string[], step: number): Promise<Sent> {
  const table = new Table({
    job_id: vectorFromArray(keys.map(() => jobId), new Utf8()), key: vectorFromArray(keys, new Utf8()), step: vectorFromArray(keys.map(() => BigInt(step)), new Int64()),
    value: vectorFromArray(keys.map(() => step), new Float64()),
  });
  const { json } = await post(tableToIPC(table, 'stream'), ARROW);
  return { taken: json.pointCount, refused: json.rejected };
}

describe.each([['the mutation', byMutation], ['NDJSON', byNdjson], ['Arrow', byArrow]])('by %s', (_, send) => {
  test('a job takes new metrics up to its bound; the rest is told of and counted by reason, and known metrics go on', async () => {
    const jobId = await nearlyFullJob();
    const told = (count: number) => (send === byMutation ? count : [{ jobId, message: 'has 20000 metrics, the most that a job may have; points of further metrics were not taken' }]);
    expect(await send(jobId, ['known 7', 'new 1', 'new 2', 'new 3', 'new 4', 'new 5'], 1)).toEqual({ taken: 3, refused: told(3) });
    expect(await send(jobId, ['new 1', 'new 5', 'known 7'], 2)).toEqual({ taken: 2, refused: told(1) });
    const { rows } = await http.database.execute(sql`select count(*)::int as count, max(series_number) as greatest, sum(point_count)::int as points from metric_series where job_id = ${jobId}`);
    expect(rows).toEqual([{ count: MAX_SERIES, greatest: MAX_SERIES, points: 5 }]);
    expect(await droppedOfJobs(http.database, [jobId])).toMatchObject([[{ reason: 'a metric beyond the most that a job may have', count: 4 }]]);
  });
});

test('many writers at once do not go beyond the bound', async () => {
  const jobId = await nearlyFullJob();
  const sent = await Promise.all(Array.from({ length: 6 }, (_, writer) => byNdjson(jobId, [`of writer ${writer}`], 1)));
  expect(sent.reduce((sum, { taken }) => sum + taken, 0)).toBe(2);
  const { rows } = await http.database.execute(sql`select count(*)::int as count from metric_series where job_id = ${jobId}`);
  expect(rows).toEqual([{ count: MAX_SERIES }]);
});

test('a body of new metrics for new jobs without end is held a transaction at a time', async () => {
  const held: number[] = [];
  const points = new CollectedPoints(async (parts) => {
    held.push(parts.reduce((sum, { series }) => sum + series.length, 0));
    return { pointCount: 0, refused: [] };
  });
  for (let index = 0; index < 110_000; index += 1) {
    points.addPoint(`job ${index}`, null, `key ${index}`, 1, 1, 0);
    await points.makeRoom();
  }
  await points.finish();
  expect([held.length, Math.max(...held)]).toEqual([3, 50_000]);
});

test('a text that is no id of a job is not held with its points, and one job in capitals is the same job', async () => {
  const jobId = freshJob();
  const lines = [{ job_id: 'x'.repeat(1_000_000), step: 1, loss: 1 }, { job_id: jobId.toUpperCase(), step: 1, loss: 1 }, { job_id: jobId, step: 2, loss: 1 }].map((line) => `${JSON.stringify(line)}\n`).join('');
  expect((await post(lines, NDJSON)).json).toEqual({ pointCount: 2, rejectedCount: 1, rejected: [{ line: 1, message: 'names no job: "job_id" must be the id of one' }] });
  const write = vi.fn(async () => ({ pointCount: 0, refused: [] }));
  const points = new CollectedPoints(write);
  for (const id of ['0A', '0a']) points.addPoint(id, null, 'loss', 1, 1, 0);
  await points.finish();
  expect(write).toHaveBeenCalledWith([expect.objectContaining({ series: [expect.objectContaining({ steps: [1, 1] })] })]);
});

test('a record batch that is too large is answered, though more of it is being sent', async () => {
  const rows = 1_200_000;
  const column = vectorFromArray(['x'.repeat(60)], new Utf8());
  const table = new Table({ job_id: vectorFromArray([freshJob()], new Utf8()), key: column, step: vectorFromArray([1n], new Int64()), value: vectorFromArray([1], new Float64()), note: vectorFromArray(['x'.repeat(60 * rows)], new Utf8()) });
  expect(await post(tableToIPC(table, 'stream'), ARROW)).toMatchObject({ status: 413, json: { errors: [{ message: expect.stringContaining('write smaller record batches'), extensions: { code: 'LIMIT_EXCEEDED' } }] } });
});

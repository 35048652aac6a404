import { request } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { Float64, Int64, Table, tableFromArrays, tableToIPC, TimestampMillisecond, vectorFromArray } from 'apache-arrow';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { CollectedPoints } from '../../src/http/ingest/collected-points.ts';
import { actionContext, freshJobs } from '../support/actions.ts';
import { startHttp, type TestHttp } from './support.ts';

const NDJSON = 'application/x-ndjson';
const ARROW = 'application/vnd.apache.arrow.stream';
const MISSING_JOB = '00000000-0000-7000-8000-000000000000';

let http: TestHttp;
let freshJob: () => string;
beforeAll(async () => {
  http = await startHttp();
  freshJob = await freshJobs({ context: actionContext(http.database) }, 20);
});
afterAll(() => http.stop());

async function send(body: string | Uint8Array, type: string, token = http.tokens.writer): Promise<{ status: number; json: any }> {
  const response = await fetch(`${http.url}/ingest/metrics`, { method: 'POST', body: body as BodyInit, headers: { 'content-type': type, authorization: `Bearer ${token}` } });
  return { status: response.status, json: await response.json() };
}

const lines = (...objects: object[]): string => objects.map((object) => `${JSON.stringify(object)}\n`).join('');

async function stored(jobId: string): Promise<unknown[]> {
  const { rows } = await http.database.execute(sql`select key, step::int, value, attempt_number as attempt from metric_points join metric_series using (job_id, series_number)
    where job_id = ${jobId} order by key, step, attempt_number`);
  return rows;
}

async function count(jobId: string): Promise<{ points: number; summed: number }> {
  const { rows: [row] } = await http.database.execute<{ points: number; summed: number }>(sql`select (select count(*)::int from metric_points where job_id = ${jobId}) as points,
    (select sum(point_count)::int from metric_series where job_id = ${jobId}) as summed`);
  return row!;
}

describe('NDJSON', () => {
  test('takes lines of metrics.jsonl that name their job, and columns; the same again changes nothing', async () => {
    const [job, other] = [freshJob(), freshJob()];
    const body = lines(
      { job_id: job, step: 1, phase: 'val', loss: 0.5, nested: { acc: 0.25 } },
      { job_id: other, step: 7, loss: 1, time: '2026-01-01T00:00:00Z' },
      { job_id: job, key: 'lr', steps: [3, 1, 2], values: [0.3, 'NaN', '-Infinity'], times: [1_760_000_000, 1_760_000_001, 1_760_000_002] },
    ).concat(`{"job_id": "${job}", "step": 2, "phase": "val", "loss": NaN}`);
    const taken = { status: 200, json: { pointCount: 7, rejectedCount: 0, rejected: [] } };
    expect(await send(body, NDJSON)).toEqual(taken);
    const before = await stored(job);
    expect(before).toEqual([
      { key: 'lr', step: 1, value: Number.NaN, attempt: 1 }, { key: 'lr', step: 2, value: -Infinity, attempt: 1 }, { key: 'lr', step: 3, value: 0.3, attempt: 1 },
      { key: 'val/loss', step: 1, value: 0.5, attempt: 1 }, { key: 'val/loss', step: 2, value: Number.NaN, attempt: 1 }, { key: 'val/nested/acc', step: 1, value: 0.25, attempt: 1 },
    ]);
    expect(await send(body, NDJSON)).toEqual(taken);
    expect(await stored(job)).toEqual(before);
    expect(await stored(other)).toEqual([{ key: 'loss', step: 7, value: 1, attempt: 1 }]);
  });

  test('a line or job that cannot be taken is named with its reason, and keeps out nothing else', async () => {
    const job = freshJob();
    const body = lines({ job_id: job, step: 1, a: 1 }, { step: 2, a: 1 }, { job_id: job, a: 1 }, { job_id: job, step: -1, a: 1 },
      { job_id: job, key: 'a', steps: [1, 2], values: [1] }, { job_id: job, key: 'a', steps: [5], values: ['five'] }, { job_id: MISSING_JOB, step: 1, a: 1 }, { job_id: MISSING_JOB, step: 2, a: 1 },
      { job_id: job, attempt: 9, step: 1, a: 1 }, { job_id: job, step: 2, a: 2 }).concat('{"job_id": \n', 'x'.repeat(1_100_000), '\n', lines({ job_id: job, step: 3, a: 3 }));
    const { status, json } = await send(body, NDJSON);
    expect([status, json.pointCount, json.rejectedCount, json.rejected.length]).toEqual([200, 3, 9, 9]);
    expect(json.rejected).toEqual(expect.arrayContaining([
      { message: 'a line is longer than 1048576 bytes' },
      { line: 2, message: 'names no job: "job_id" must be the id of one' },
      { line: 3, message: 'names no step: "step" (or "epoch") must be a whole number' },
      { line: 4, message: 'has a negative step' },
      { line: 5, message: 'has 2 steps and 1 values; they belong together' },
      { line: 6, message: 'has a value that is no number; NaN and infinities are written "NaN", "Infinity", "-Infinity"' },
      { line: 11, message: 'is not a JSON object' },
      { jobId: MISSING_JOB, message: `there is no job ${MISSING_JOB}` },
      { jobId: job, message: 'the job has attempts 1 to 1, not 9' },
    ]));
    expect((await stored(job)).length).toBe(3);
  });

  test('takes points as the export of metrics has them', async () => {
    const job = freshJob();
    const point = { job_id: job, key: 'val/loss', step: 1, time: '2026-01-01T00:00:00.000Z', value: 0.5, attempt: 1 };
    await send(lines(point, { ...point, step: 2, value: 'NaN' }), NDJSON);
    const exported = await (await fetch(`${http.url}/export/job/${job}/metrics.jsonl`, { headers: { authorization: `Bearer ${http.tokens.reader}` } })).text();
    expect(await send(exported.replaceAll('val/loss', 'again'), NDJSON)).toEqual({ status: 200, json: { pointCount: 2, rejectedCount: 0, rejected: [] } });
    const values = [{ step: 1, value: 0.5, attempt: 1 }, { step: 2, value: Number.NaN, attempt: 1 }];
    expect(await stored(job)).toEqual(['again', 'val/loss'].flatMap((key) => values.map((value) => ({ key, ...value }))));
  });

  test('names a line without a number, and what is no moment, instead of passing over them', async () => {
    const job = freshJob();
    const body = lines({ job_id: job, step: 1, note: 'hello', flag: true }, { job_id: job, step: 1, a: 1, time: 'yesterday' }, { job_id: job, key: 'a', step: 1, value: 1, time: 'yesterday' },
      { job_id: job, key: 'a', steps: [1, 2], values: [1, 'two'] }, { job_id: job, key: 'a', steps: [1, 2], values: [1, 2], times: [null, 7] }, { job_id: job, key: 'a', step: 1, value: null }, { job_id: job, key: 'a', value: 1 },
      { job_id: job, key: 'a', steps: [1, 2], values: [1, 2], times: [null, 1_760_000_000] });
    const moment = 'a moment is written as ISO 8601, unix seconds or unix milliseconds';
    const number = 'NaN and infinities are written "NaN", "Infinity", "-Infinity"';
    expect(await send(body, NDJSON)).toEqual({ status: 200, json: { pointCount: 2, rejectedCount: 7, rejected: [
      { line: 1, message: 'has no metric: nothing in it is a number' }, { line: 2, message: `has a "time" that is no moment; ${moment}` }, { line: 3, message: `has a time that is no moment; ${moment}` },
      { line: 4, message: `has a value that is no number (2 of 2); ${number}` }, { line: 5, message: `has a time that is no moment (2 of 2); ${moment}` },
      { line: 6, message: `has a value that is no number; ${number}` }, { line: 7, message: 'has a step that is not a whole number' },
    ] } });
  });

  test('a key that no metric can have loses only its value, and is named', async () => {
    const job = freshJob();
    expect(await send(lines({ job_id: job, step: 1, loss: 1, ['k'.repeat(500)]: 2, '': 3 }), NDJSON)).toEqual({ status: 200, json: {
      pointCount: 1, rejectedCount: 2, rejected: [{ line: 1, message: 'a value has a key of more than 256 characters' }, { line: 1, message: 'a value has an empty key' }],
    } });
    expect(await stored(job)).toEqual([{ key: 'loss', step: 1, value: 1, attempt: 1 }]);
  });

  test('what was taken before the connection broke stays, and the whole again makes it exact', async () => {
    const job = freshJob();
    const piece = (from: number): string => lines({ job_id: job, key: 'loss', steps: Array.from({ length: 10_000 }, (_, index) => from + index), values: Array.from({ length: 10_000 }, () => 1) });
    const whole = Array.from({ length: 30 }, (_, index) => piece(index * 10_000));
    const broken = request(`${http.url}/ingest/metrics`, { method: 'POST', headers: { 'content-type': NDJSON, authorization: `Bearer ${http.tokens.writer}` } });
    broken.on('error', () => undefined);
    const half = async function* (): AsyncGenerator<string> {
      yield* whole.slice(0, 20);
      while ((await count(job)).points === 0);
      throw new Error('the line broke');
    };
    await expect(pipeline(Readable.from(half()), broken)).rejects.toThrow('the line broke');
    expect((await count(job)).points).toBeGreaterThan(0);
    expect((await send(whole.join(''), NDJSON)).json).toMatchObject({ pointCount: 300_000, rejectedCount: 0 });
    expect(await count(job)).toEqual({ points: 300_000, summed: 300_000 });
  });
});

describe('Arrow', () => {
  const table = (jobs: string[]): Table => new Table({
    job_id: vectorFromArray(jobs), key: vectorFromArray(jobs.map((_, index) => (index % 2 === 0 ? 'loss' : 'acc'))), step: vectorFromArray(jobs.map((_, index) => BigInt(index)), new Int64()),
    value: vectorFromArray(jobs.map((_, index) => (index === 2 ? Infinity : index / 4)), new Float64()),
    time: vectorFromArray(jobs.map((_, index) => 1_760_000_000_000 + index), new TimestampMillisecond()), note: vectorFromArray(jobs.map(() => 'passed over')),
  });

  test('takes a row a point', async () => {
    const job = freshJob();
    expect(await send(tableToIPC(table([job, job, job, MISSING_JOB]), 'stream'), ARROW)).toEqual({
      status: 200, json: { pointCount: 3, rejectedCount: 1, rejected: [{ jobId: MISSING_JOB, message: `there is no job ${MISSING_JOB}` }] },
    });
    expect(await stored(job)).toEqual([{ key: 'acc', step: 1, value: 0.25, attempt: 1 }, { key: 'loss', step: 0, value: 0, attempt: 1 }, { key: 'loss', step: 2, value: Infinity, attempt: 1 }]);
    const { rows } = await http.database.execute<{ ms: number }>(sql`select extract(epoch from time)::float8 * 1000 as ms from metric_points where job_id = ${job} order by step`);
    expect(rows.map(({ ms }) => Math.round(ms))).toEqual([1_760_000_000_000, 1_760_000_000_001, 1_760_000_000_002]);
  });

  test('takes whole numbers as values, and names a time that is a text', async () => {
    const job = freshJob();
    const columns = { job_id: vectorFromArray([job, job]), key: vectorFromArray(['loss', 'loss']), step: vectorFromArray([1n, 2n], new Int64()), value: vectorFromArray([3n, 4n], new Int64()) };
    expect((await send(tableToIPC(new Table(columns), 'stream'), ARROW)).json).toEqual({ pointCount: 2, rejectedCount: 0, rejected: [] });
    expect(await stored(job)).toEqual([{ key: 'loss', step: 1, value: 3, attempt: 1 }, { key: 'loss', step: 2, value: 4, attempt: 1 }]);
    const message = 'has a time that is no moment of the years 1 to 9999: time must be a timestamp, or unix milliseconds';
    expect((await send(tableToIPC(new Table({ ...columns, time: vectorFromArray(['yesterday', null]) }), 'stream'), ARROW)).json)
      .toEqual({ pointCount: 1, rejectedCount: 1, rejected: [{ line: 1, message }] });
  });

  test('leaves out a row whose time is none, and takes the others', async () => {
    const job = freshJob();
    const times = [1_760_000_000_000_000_000n, 1_760_000_000_000n, -100_000_000_000_000n, 253_402_300_800_000n];
    const rows = new Table({
      job_id: vectorFromArray(times.map(() => job)), key: vectorFromArray(times.map(() => 'loss')), step: vectorFromArray(times.map((_, index) => BigInt(index)), new Int64()),
      value: vectorFromArray(times.map(() => 1), new Float64()), time: vectorFromArray(times, new Int64()),
    });
    const message = 'has a time that is no moment of the years 1 to 9999: time must be a timestamp, or unix milliseconds';
    expect(await send(tableToIPC(rows, 'stream'), ARROW)).toEqual({
      status: 200, json: { pointCount: 1, rejectedCount: 3, rejected: [{ line: 1, message }, { line: 3, message }, { line: 4, message }] },
    });
    expect(await stored(job)).toEqual([{ key: 'loss', step: 1, value: 1, attempt: 1 }]);
  });

  test('says what a stream lacks, and that garbage is none', async () => {
    const { status, json } = await send(tableToIPC(tableFromArrays({ job_id: ['x'], step: [1] }), 'stream'), ARROW);
    expect([status, json.errors]).toEqual([400, [{ message: 'the Arrow stream lacks key, value; it needs job_id, key, step, value, and may have time and attempt', extensions: { code: 'BAD_USER_INPUT' } }]]);
    const whole = tableToIPC(table([freshJob()]), 'stream');
    for (const garbage of [Buffer.from('this is no arrow stream at all, and never was'), whole.subarray(0, whole.length - 100)]) {
      expect(await send(garbage, ARROW)).toMatchObject({ status: 400, json: { errors: [{ extensions: { code: 'BAD_USER_INPUT' } }] } });
    }
  });
});

test('only a token that may write is let in, and only with a body that can be read', async () => {
  expect(await send('', NDJSON, http.tokens.reader)).toMatchObject({ status: 403, json: { errors: [{ extensions: { code: 'FORBIDDEN' } }] } });
  expect(await send('', NDJSON, 'eg_wrong')).toMatchObject({ status: 401 });
  expect(await send('{}', 'application/json')).toMatchObject({ status: 400, json: { errors: [{ message: expect.stringContaining('application/x-ndjson') }] } });
  expect(await send('', NDJSON)).toEqual({ status: 200, json: { pointCount: 0, rejectedCount: 0, rejected: [] } });
});

test('series without points are not held, however many of them a body names', async () => {
  const write = vi.fn(async () => ({ pointCount: 0, refused: [] }));
  const points = new CollectedPoints(write);
  points.add('job', null, 'loss', { steps: [], values: [], times: [] });
  await points.finish();
  expect(write).not.toHaveBeenCalled();
});

test('a job that is refused again counts once, as long as no more are remembered than memory is to hold, whatever ids are made up', async () => {
  const points = new CollectedPoints(async (parts) => ({ pointCount: 0, refused: parts.map(({ jobId, attempt }) => ({ jobId, attempt, message: 'there is no such job' })) }));
  for (let time = 0; time < 2; time += 1) {
    for (let job = 0; job < 10_050; job += 1) points.addPoint(`made-up-${job}`, null, 'loss', 1, 1, Date.now());
    await points.finish();
  }
  expect(points.summary).toMatchObject({ pointCount: 0, rejectedCount: 10_050 + 50 });
  expect(points.summary.rejected).toHaveLength(20);
});

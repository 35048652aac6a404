/** The server is killed while metrics come in, by each way in; then the same is sent again: every point counts once. */
import { randomInt } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { request } from 'node:http';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { Field, Float64, Int64, makeData, RecordBatch, RecordBatchStreamWriter, Schema, Struct, Utf8, vectorFromArray } from 'apache-arrow';
import { stringify } from 'yaml';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { CrashPoint } from '../../src/reconcilers/crash-point.ts';
import { ensureBuilt } from '../cli/built.ts';
import { until } from '../rig/processes.ts';
import { testDatabase, type TestDatabase } from '../support/database.ts';
import { openVictim, type Victim } from './victim.ts';

const DEADLINE_MS = 120_000;
/** Of each of the two metrics: several transactions, and two levels of buckets. */
const STEPS = 60_000;
const KEYS = ['loss', 'val/acc'];
const PIECE = 1_000;
const SUBMIT = 'mutation ($input: SubmitJobInput!) { submitJob(input: $input) { job { id } userErrors { message } } }';
const RECORD = 'mutation ($input: RecordMetricsInput!) { recordMetrics(input: $input) { pointCount userErrors { message } } }';

const valueAt = (step: number): number => (step * 7919) % 1000;
/** The first of them with the greatest value. */
const GREATEST_STEP = Array.from({ length: 1000 }, (_, step) => valueAt(step)).indexOf(999);

let db: TestDatabase;
let victim: Victim;
beforeAll(async () => {
  await ensureBuilt();
  db = await testDatabase();
  victim = await openVictim(db.url, stringify({ clusters: { here: { kind: 'local', maxActiveJobs: 4, pollSeconds: { min: 0.2, max: 0.5 } } } }));
  await victim.start();
}, DEADLINE_MS);
afterAll(async () => {
  await victim?.remove();
  await db?.drop();
}, DEADLINE_MS);

async function submit(name: string, command: string[], held: boolean): Promise<string> {
  const { submitJob } = await victim.request(SUBMIT, { input: { project: 'tests', experiment: 'killed', name, command, held, config: { name } } });
  expect(submitJob.userErrors).toEqual([]);
  return submitJob.job.id;
}

async function pointCount(...jobIds: string[]): Promise<number> {
  return Number((await db.pool.query('select count(*) from metric_points where job_id = any($1)', [jobIds])).rows[0].count);
}

/** Points, summaries and buckets agree, with each other and with what was sent. */
async function expectEachPointOnce(jobId: string): Promise<void> {
  expect(await pointCount(jobId)).toBe(KEYS.length * STEPS);
  const { rows } = await db.pool.query(`select key, point_count::int, last_step::int, last_value, min_value, min_step::int, max_value, max_step::int, bucketed_below_step::int as below,
    (select sum(point_count)::int from metric_buckets b where b.job_id = s.job_id and b.series_number = s.series_number and level = 0) as lowest,
    (select sum(point_count)::int from metric_buckets b where b.job_id = s.job_id and b.series_number = s.series_number and level = 9) as highest,
    (select sum(value_sum) from metric_buckets b where b.job_id = s.job_id and b.series_number = s.series_number and level = 9) as sum
    from metric_series s where job_id = $1 order by key`, [jobId]);
  expect(rows.map(({ below, lowest, highest, sum, ...summary }) => summary)).toEqual(KEYS.map((key) => (
    { key, point_count: STEPS, last_step: STEPS - 1, last_value: valueAt(STEPS - 1), min_value: 0, min_step: 0, max_value: 999, max_step: GREATEST_STEP })));
  for (const { below, lowest, highest, sum } of rows) {
    let expected = 0;
    for (let step = 0; step < below; step += 1) expected += valueAt(step);
    expect([lowest, highest, sum]).toEqual([below, below, expected]);
    expect(below).toBeGreaterThan(STEPS / 2);
  }
}

function* ndjson(jobIds: string[]): Generator<Uint8Array> {
  for (let from = 0; from < STEPS; from += PIECE) {
    const steps = Array.from({ length: PIECE }, (_, index) => from + index);
    for (const job_id of jobIds) for (const key of KEYS) yield Buffer.from(`${JSON.stringify({ job_id, key, steps, values: steps.map(valueAt) })}\n`);
  }
}

function arrow(jobIds: string[]): AsyncIterable<Uint8Array> {
  const type = new Struct([new Field('job_id', new Utf8()), new Field('key', new Utf8()), new Field('step', new Int64()), new Field('value', new Float64())] as Field[]);
  const batches = function* (): Generator<RecordBatch> {
    for (let from = 0; from < STEPS; from += PIECE) {
      for (const [jobId, key] of jobIds.flatMap((id) => KEYS.map((name) => [id, name] as const))) {
        const steps = Array.from({ length: PIECE }, (_, index) => from + index);
        const text = (word: string) => vectorFromArray(steps.map(() => word), new Utf8()).data[0]!;
        yield new RecordBatch(new Schema(type.children), makeData({ type, length: PIECE, nullCount: 0, children: [
          text(jobId), text(key), makeData({ type: new Int64(), length: PIECE, data: BigInt64Array.from(steps, BigInt) }),
          makeData({ type: new Float64(), length: PIECE, data: Float64Array.from(steps, valueAt) }),
        ] }));
      }
    }
  };
  return RecordBatchStreamWriter.writeAll(batches()) as AsyncIterable<Uint8Array>;
}

/** All but its end, which is never sent: whenever the server dies, it dies while points come in. */
async function* withoutEnd(body: Iterable<Uint8Array> | AsyncIterable<Uint8Array>, killed: Promise<void>): AsyncGenerator<Uint8Array> {
  let held: Uint8Array | null = null;
  for await (const piece of body) {
    if (held !== null) yield held;
    held = piece;
  }
  await killed;
}

/** Answers what the server took; rejects when the connection is lost. */
async function send(body: Iterable<Uint8Array> | AsyncIterable<Uint8Array>, contentType: string): Promise<{ pointCount: number; rejectedCount: number; rejected: unknown[] }> {
  const token = (await readFile(join(victim.folder, 'token'), 'utf8')).trim();
  const outgoing = request(new URL('/ingest/metrics', victim.url()), { method: 'POST', headers: { 'content-type': contentType, authorization: `Bearer ${token}` } });
  const answered = new Promise<string>((resolve, reject) => {
    outgoing.on('error', reject);
    outgoing.on('response', (response) => {
      let text = '';
      response.on('data', (chunk: Buffer) => { text += chunk.toString(); });
      response.on('end', () => resolve(text));
      response.on('error', reject);
    });
  });
  answered.catch(() => undefined);
  await pipeline(Readable.from(body), outgoing);
  return JSON.parse(await answered);
}

async function record(jobIds: string[]): Promise<void> {
  for (let from = 0; from < STEPS; from += 10 * PIECE) {
    const steps = Array.from({ length: 10 * PIECE }, (_, index) => from + index);
    const answers = await Promise.all(jobIds.map((jobId) => victim.request(RECORD, { input: { jobId, series: KEYS.map((key) => ({ key, steps, values: steps.map(valueAt) })) } })));
    for (const { recordMetrics } of answers) expect(recordMetrics).toEqual({ pointCount: KEYS.length * steps.length, userErrors: [] });
  }
}

/** A way in: with `killed` it goes on until the server is gone. */
type WayIn = (jobIds: string[], killed?: Promise<void>) => Promise<void>;

function stream(pieces: (jobIds: string[]) => Iterable<Uint8Array> | AsyncIterable<Uint8Array>, contentType: string): WayIn {
  return async (jobIds, killed) => {
    const body = pieces(jobIds);
    const answer = await send(killed === undefined ? body : withoutEnd(body, killed), contentType);
    expect(answer).toEqual({ pointCount: jobIds.length * KEYS.length * STEPS, rejectedCount: 0, rejected: [] });
  };
}

const mutation: WayIn = async (jobIds, killed) => {
  do await record(jobIds); while (killed !== undefined);
};

describe('killed while metrics come in, and sent the same again', () => {
  test.each<[string, WayIn]>([
    ['NDJSON', stream(ndjson, 'application/x-ndjson')],
    ['Arrow', stream(arrow, 'application/vnd.apache.arrow.stream')],
    ['the mutation', mutation],
  ])('by %s, of two jobs at once, at any moment', async (name, all) => {
    const jobIds = await Promise.all(['first', 'second'].map((which) => submit(`${name}, ${which}`, ['true'], true)));
    for (let life = 1; life <= 2; life += 1) {
      let tellKilled!: () => void;
      const killed = new Promise<void>((resolve) => { tellKilled = resolve; });
      const seen = await pointCount(...jobIds);
      const lost = all(jobIds, killed).then(() => false, () => true);
      // Somewhere among the transactions that write what is new.
      const enough = life === 1 ? randomInt(1, jobIds.length * KEYS.length * STEPS / 2) : 0;
      await until('points to be taken', DEADLINE_MS, async () => await pointCount(...jobIds) >= Math.max(seen, enough));
      await victim.kill();
      tellKilled();
      expect(await lost).toBe(true);
      await victim.start();
    }
    for (let time = 1; time <= 2; time += 1) {
      await all(jobIds);
      for (const jobId of jobIds) await expectEachPointOnce(jobId);
    }
  }, 2 * DEADLINE_MS);

  test.each<CrashPoint | 'any moment'>(['harvest-before-commit', 'any moment'])('by a file that is being read, at %s', async (point) => {
    await victim.kill();
    await victim.start(point === 'any moment' ? undefined : point);
    const program = `import os
with open(os.environ["EXPGRAPH_METRICS"], "w") as file:
    for step in range(${STEPS}): file.write('{"step":%d,"loss":%d,"val/acc":%d}\\n' % (step, step * 7919 % 1000, step * 7919 % 1000))`;
    const name = `file ${point}`;
    // The answer may be lost with the server.
    await submit(name, ['python3', '-c', program], false).catch(() => undefined);
    const jobId = (await db.pool.query<{ id: string }>("select id from jobs where config->>'name' = $1", [name])).rows[0]!.id;
    const enough = randomInt(1, STEPS);
    if (point === 'any moment') {
      await until('points to be taken', DEADLINE_MS, async () => await pointCount(jobId) >= enough);
      await victim.kill();
    } else {
      expect(await victim.died()).toBe('SIGKILL');
    }
    await victim.start();
    await until('the file to be read', DEADLINE_MS, async () => await pointCount(jobId) === KEYS.length * STEPS);
    await expectEachPointOnce(jobId);
    const { job } = await victim.request('query ($id: ID!) { job(id: $id) { droppedLineCount } }', { id: jobId });
    expect(job.droppedLineCount).toBe(0);
  }, 2 * DEADLINE_MS);
});

/** One series of a million points by each way in, partly late and with values that are no numbers, into the server as it is started. */
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { Dictionary, Field, Float64, Int32, Int64, makeData, RecordBatch, RecordBatchStreamWriter, Schema, Struct, tableFromIPC, TimestampMillisecond, Utf8, vectorFromArray } from 'apache-arrow';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ensureBuilt } from '../cli/built.ts';
import { until } from '../rig/processes.ts';
import { testDatabase, type TestDatabase } from '../support/database.ts';
import type { TestClient } from '../support/graphql-client.ts';
import { memoryBytes } from '../support/process-memory.ts';
import { openServerFolder, startServerProcess, type ServerProcess } from '../support/server-process.ts';

const DEADLINE_MS = 240_000;
/** Some points are held as objects and texts; a history of a million is not. */
const MAX_HEAP_MIB = 192;
/** With the bytes that come and go, which lie outside of the heap. */
const MAX_GROWTH_BYTES = 256 * 1024 * 1024;
const KEY = 'train/loss';
const BLOCK = 1_000;
const START_MS = 1_760_000_000_000;
const SUBMIT = 'mutation ($input: SubmitJobInput!) { submitJob(input: $input) { job { id } userErrors { message } } }';
const RECORD = 'mutation ($input: RecordMetricsInput!) { recordMetrics(input: $input) { pointCount refusedPointCount userErrors { message } } }';
const SERIES = `query ($id: ID!) { job(id: $id) { droppedLineCount metrics(maxPoints: 1000) { key pointCount sampled rolledUpBelowStep
  steps values nonFinite { step value } last { step value } min { step value } max { step value } } } }`;

/** Points that a chart of all may not miss, each once, and some that no chart can show. The highest step is one of those. */
const LEAST = { step: 77_777, value: -12.5 };
const GREATEST = { step: 123_456, value: 4_321.75 };
function valueAt(step: number, count: number): number {
  if (step === LEAST.step) return LEAST.value;
  if (step === GREATEST.step) return GREATEST.value;
  if (step === count - 1 || step % 50_021 === 3) return Number.NaN;
  if (step % 60_013 === 5) return step % 2 === 0 ? Infinity : -Infinity;
  return ((step * 7_919) % 1_000_003) / 1_000;
}

/** Blocks of steps as they are sent: one of twenty comes late, and those in reverse. */
function* blocks(count: number): Generator<number[]> {
  const isLate = (block: number): boolean => block % 20 === 7;
  const numbers = Array.from({ length: count / BLOCK }, (_, block) => block);
  for (const block of numbers) if (!isLate(block)) yield Array.from({ length: BLOCK }, (_, index) => block * BLOCK + index);
  for (const block of numbers.toReversed()) if (isLate(block)) yield Array.from({ length: BLOCK }, (_, index) => block * BLOCK + BLOCK - 1 - index);
}

let folder: string;
let db: TestDatabase;
let server: ServerProcess;
let client: TestClient;
let token: string;
let memoryBefore: number;
beforeAll(async () => {
  await ensureBuilt();
  folder = await openServerFolder();
  db = await testDatabase();
  server = await startServerProcess(folder, { DATABASE_URL: db.url.replace('@/', '@localhost/'), NODE_OPTIONS: `--max-old-space-size=${MAX_HEAP_MIB}` });
  client = await server.client();
  token = (await readFile(join(folder, 'token'), 'utf8')).trim();
  memoryBefore = await memoryBytes(server.pid, 'VmRSS');
}, DEADLINE_MS);
afterAll(async () => {
  await client?.close();
  server?.kill('SIGTERM');
  await server?.ended;
  await db?.drop();
  await rm(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
}, DEADLINE_MS);

async function submit(name: string, command: string[], held: boolean): Promise<string> {
  const { submitJob } = await client.request(SUBMIT, { input: { project: 'tests', experiment: 'long', name, command, held, config: { name } } });
  expect(submitJob.userErrors).toEqual([]);
  return submitJob.job.id;
}

const seriesOf = async (jobId: string): Promise<any> => (await client.request(SERIES, { id: jobId })).job;
const address = (path: string): string => server.url!.replace(/graphql$/, path);

/** Sends all of it and resolves when it is taken; the second time the same again, or a part of it. */
type WayIn = (count: number) => Promise<{ jobId: string; again(): Promise<void> }>;

const byFile: WayIn = async (count) => {
  const [file, go] = [join(folder, 'points.jsonl'), join(folder, 'go')];
  const word = (value: number): string => (Number.isFinite(value) ? String(value) : Number.isNaN(value) ? 'NaN' : value > 0 ? 'Infinity' : '-Infinity');
  const lines = [...blocks(count)].map((steps) => steps.map((step) => `{"step":${step},"time":${START_MS + step},"${KEY}":${word(valueAt(step, count))}}\n`).join(''));
  await writeFile(file, lines.join(''), { mode: 0o644 });
  // The second time the file is another one, and read from its start.
  const program = 'cp "$1" "$EXPGRAPH_METRICS"; until [ -e "$2" ]; do sleep 0.1; done; cp "$1" "$EXPGRAPH_METRICS.new"; mv "$EXPGRAPH_METRICS.new" "$EXPGRAPH_METRICS"';
  const jobId = await submit('file', ['sh', '-c', program, 'sh', file, go], false);
  await until('the file to be read', DEADLINE_MS, async () => (await seriesOf(jobId)).metrics[0]?.pointCount === count);
  return { jobId, again: async () => {
    await writeFile(go, '');
    await until('the file to be read again', DEADLINE_MS, async () => (await client.request('query ($id: ID!) { job(id: $id) { state } }', { id: jobId })).job.state === 'COMPLETED');
  } };
};

const byMutation: WayIn = async (count) => {
  const jobId = await submit('mutation', ['true'], true);
  const send = async (): Promise<void> => {
    const all = [...blocks(count)];
    for (let from = 0; from < all.length; from += 50) {
      const steps = all.slice(from, from + 50).flat();
      const values = steps.map((step) => valueAt(step, count));
      const nonFinite = values.flatMap((value, index) => (Number.isFinite(value) ? [] : [{ index, value: Number.isNaN(value) ? 'NAN' : value > 0 ? 'POSITIVE_INFINITY' : 'NEGATIVE_INFINITY' }]));
      const series = [{ key: KEY, steps, values: values.map((value) => (Number.isFinite(value) ? value : null)), times: steps.map((step) => new Date(START_MS + step).toISOString()), nonFinite }];
      expect((await client.request(RECORD, { input: { jobId, series } })).recordMetrics).toEqual({ pointCount: steps.length, refusedPointCount: 0, userErrors: [] });
    }
  };
  await send();
  return { jobId, again: send };
};

async function ingest(body: Iterable<Uint8Array> | AsyncIterable<Uint8Array>, type: string, count: number): Promise<void> {
  const response = await fetch(address('ingest/metrics'), {
    method: 'POST', body: Readable.toWeb(Readable.from(body)) as BodyInit, duplex: 'half', headers: { 'content-type': type, authorization: `Bearer ${token}` },
  } as RequestInit);
  expect(await response.json()).toEqual({ pointCount: count, rejectedCount: 0, rejected: [] });
}

const byNdjson: WayIn = async (count) => {
  const jobId = await submit('ndjson', ['true'], true);
  const lines = function* (stride: number): Generator<Uint8Array> {
    for (const steps of blocks(count)) {
      if (Math.floor(steps[0]! / BLOCK) % stride > 0) continue;
      const values = steps.map((step) => valueAt(step, count)).map((value) => (Number.isFinite(value) ? value : String(value)));
      yield Buffer.from(`${JSON.stringify({ job_id: jobId, key: KEY, steps, values, times: steps.map((step) => START_MS + step) })}\n`);
    }
  };
  await ingest(lines(1), 'application/x-ndjson', count);
  // Of the longest one a fifth: to write what is there takes longer than what is new.
  return { jobId, again: () => ingest(lines(5), 'application/x-ndjson', count / 5) };
};

const byArrow: WayIn = async (count) => {
  const jobId = await submit('arrow', ['true'], true);
  const text = (id: number) => new Dictionary(new Utf8(), new Int32(), id);
  const type = new Struct([new Field('job_id', text(1)), new Field('key', text(2)), new Field('step', new Int64()), new Field('value', new Float64()), new Field('time', new TimestampMillisecond())] as Field[]);
  const [ids, keys] = [vectorFromArray([jobId], new Utf8()), vectorFromArray([KEY], new Utf8())];
  const batches = function* (): Generator<RecordBatch> {
    for (const steps of blocks(count)) {
      const length = steps.length;
      yield new RecordBatch(new Schema(type.children), makeData({ type, length, nullCount: 0, children: [
        makeData({ type: text(1), length, data: new Int32Array(length), dictionary: ids }), makeData({ type: text(2), length, data: new Int32Array(length), dictionary: keys }),
        makeData({ type: new Int64(), length, data: BigInt64Array.from(steps, BigInt) }), makeData({ type: new Float64(), length, data: Float64Array.from(steps, (step) => valueAt(step, count)) }),
        makeData({ type: new TimestampMillisecond(), length, data: BigInt64Array.from(steps, (step) => BigInt(START_MS + step)) }),
      ] }));
    }
  };
  const send = (): Promise<void> => ingest(RecordBatchStreamWriter.writeAll(batches()) as AsyncIterable<Uint8Array>, 'application/vnd.apache.arrow.stream', count);
  await send();
  return { jobId, again: send };
};

/** Of every point and where it is stored: whatever is changed or written anew in one of them changes this. */
async function digest(jobId: string): Promise<unknown> {
  return (await db.pool.query("select count(*), sum(hashtextextended(concat_ws(' ', ctid, series_number, step, attempt_number, value, time), 0)) from metric_points where job_id = $1", [jobId])).rows;
}

function expectWhole({ droppedLineCount, metrics }: any, count: number): void {
  expect(droppedLineCount).toBe(0);
  expect(metrics).toHaveLength(1);
  const [{ steps, values, nonFinite, ...summary }] = metrics;
  expect(summary).toEqual({ key: KEY, pointCount: count, sampled: true, rolledUpBelowStep: null, last: { step: count - 2, value: valueAt(count - 2, count) }, min: LEAST, max: GREATEST });
  expect(steps.length).toBeGreaterThan(100);
  expect(steps.length).toBeLessThanOrEqual(1_000);
  for (const { step, value } of [LEAST, GREATEST]) expect(values[steps.indexOf(step)]).toBe(value);
  const odd = new Map(nonFinite.map(({ step, value }: any) => [step, value]));
  const shown = new Map([['NAN', Number.NaN], ['POSITIVE_INFINITY', Infinity], ['NEGATIVE_INFINITY', -Infinity]]);
  expect(steps.filter((step: number, index: number) => !Object.is(values[index] ?? shown.get(odd.get(step) as string), valueAt(step, count)))).toEqual([]);
}

async function expectExported(jobId: string, count: number): Promise<void> {
  const response = await fetch(address(`export/job/${jobId}/metrics.arrow`), { headers: { authorization: `Bearer ${token}` } });
  const table = tableFromIPC(new Uint8Array(await response.arrayBuffer()));
  expect(table.numRows).toBe(count);
  const [steps, values] = [table.getChild('step')!, table.getChild('value')!];
  const wrong: number[] = [];
  for (let row = 0; row < count; row += 1) if (Number(steps.get(row)) !== row || !Object.is(values.get(row), valueAt(row, count))) wrong.push(row);
  expect(wrong.slice(0, 10)).toEqual([]);
}

describe('a long series', () => {
  test.each([['a file of a job', 150_000, byFile], ['the mutation', 150_000, byMutation], ['Arrow', 150_000, byArrow], ['NDJSON', 1_000_000, byNdjson]] as const)(
    'by %s, of %i points, is exact in its summary, its chart and its export, and the same again changes nothing', async (_, count, send) => {
      const { jobId, again } = await send(count);
      const once = await seriesOf(jobId);
      expectWhole(once, count);
      await expectExported(jobId, count);
      const before = await digest(jobId);
      await again();
      expect(await seriesOf(jobId)).toEqual(once);
      expect(await digest(jobId)).toEqual(before);
      expect(await memoryBytes(server.pid, 'VmHWM') - memoryBefore).toBeLessThan(MAX_GROWTH_BYTES);
    }, DEADLINE_MS);
});

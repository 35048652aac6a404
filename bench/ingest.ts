/**
 * Metric points a second through each way in, end to end into rows that can be queried, with their summaries and buckets: the bulk endpoint (NDJSON and
 * Arrow), the mutation, and files that jobs write. The baseline in the same run is a COPY of the same rows into the same table, from a file on the
 * server's own disk. `--points N` (default 5,000,000) is what goes through each.
 */
import { createWriteStream } from 'node:fs';
import { once } from 'node:events';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { Dictionary, Field, Float64, Int32, Int64, makeData, RecordBatch, RecordBatchStreamWriter, Schema, Struct, TimestampMillisecond, Utf8, vectorFromArray, type Data } from 'apache-arrow';
import { v7 } from 'uuid';
import { columnLines, heldJobs, START_SECONDS, valueAt, withMetricServer, type MetricServer } from './metric-server.ts';
import { rounded, type BenchResult } from './result.ts';

const JOBS = 10;
const KEYS = ['train/loss', 'train/acc', 'lr', 'grad_norm', 'throughput'];
const MIN_POINTS_PER_SECOND = 100_000;
const MIN_SHARE_OF_COPY = 0.25;
const POINTS_PER_CALL = 50_000;
const END_DEADLINE_MS = 1_200_000;

interface Load {
  server: MetricServer;
  points: number;
  /** Of each series. */
  steps: number;
}

async function timed(name: string, points: number, run: () => Promise<void>): Promise<number> {
  const begun = performance.now();
  await run();
  const rate = Math.round(points / ((performance.now() - begun) / 1000));
  console.log(`${name}: ${rate.toLocaleString('en')} points a second`);
  return rate;
}

/** The rows as text files, one a job, as COPY reads them. */
async function copyRaw({ server: { folder, pool }, points, steps }: Load): Promise<number> {
  const files: string[] = [];
  for (let job = 0; job < JOBS; job += 1) {
    const path = join(folder, `rows-${job}.tsv`);
    const jobId = v7();
    await pipeline(Readable.from((function* () {
      for (let series = 1; series <= KEYS.length; series += 1) {
        let text = '';
        for (let step = 0; step < steps; step += 1) {
          text += `${jobId}\t${series}\t${step}\t1\t${valueAt(step)}\t${new Date((START_SECONDS + step) * 1000).toISOString()}\n`;
          if (text.length > 1_000_000) { yield text; text = ''; }
        }
        yield text;
      }
    })()), createWriteStream(path, { mode: 0o644 }));
    files.push(path);
  }
  const rate = await timed('COPY of the rows alone', points, async () => {
    for (const path of files) await pool.query(`copy metric_points (job_id, series_number, step, attempt_number, value, time) from '${path}'`);
  });
  await pool.query('truncate metric_points');
  return rate;
}

async function throughNdjson({ server, points, steps }: Load): Promise<number> {
  const ids = await heldJobs(server.client, 'ndjson', JOBS);
  const rate = await timed('bulk endpoint, NDJSON', points, async () => { await server.ingest(columnLines(ids, KEYS, steps), 'application/x-ndjson'); });
  return checked(server, ids, points, rate);
}

async function throughArrow({ server, points, steps }: Load): Promise<number> {
  const ids = await heldJobs(server.client, 'arrow', JOBS);
  const rate = await timed('bulk endpoint, Arrow', points, async () => {
    const writer = RecordBatchStreamWriter.writeAll(recordBatches(ids, steps));
    await server.ingest(writer, 'application/vnd.apache.arrow.stream');
  });
  return checked(server, ids, points, rate);
}

function* recordBatches(jobIds: string[], steps: number): Generator<RecordBatch> {
  const jobs = vectorFromArray(jobIds, new Utf8());
  const keys = vectorFromArray(KEYS, new Utf8());
  const type = new Struct([
    new Field('job_id', new Dictionary(new Utf8(), new Int32(), 1), false), new Field('key', new Dictionary(new Utf8(), new Int32(), 2), false),
    new Field('step', new Int64(), false), new Field('value', new Float64(), false), new Field('time', new TimestampMillisecond(), false),
  ]);
  const schema = new Schema(type.children);
  const rows = 10_000;
  for (let from = 0; from < steps; from += rows) {
    const length = Math.min(rows, steps - from);
    const stepColumn = BigInt64Array.from({ length }, (_, index) => BigInt(from + index));
    const valueColumn = Float64Array.from({ length }, (_, index) => valueAt(from + index));
    const timeColumn = BigInt64Array.from({ length }, (_, index) => BigInt((START_SECONDS + from + index) * 1000));
    for (let job = 0; job < jobIds.length; job += 1) {
      for (let key = 0; key < KEYS.length; key += 1) {
        const children: Data[] = [
          makeData({ type: type.children[0]!.type as Dictionary, length, data: new Int32Array(length).fill(job), dictionary: jobs }),
          makeData({ type: type.children[1]!.type as Dictionary, length, data: new Int32Array(length).fill(key), dictionary: keys }),
          makeData({ type: new Int64(), length, data: stepColumn }), makeData({ type: new Float64(), length, data: valueColumn }),
          makeData({ type: new TimestampMillisecond(), length, data: timeColumn }),
        ];
        yield new RecordBatch(schema, makeData({ type, length, nullCount: 0, children }));
      }
    }
  }
}

const RECORD = 'mutation ($input: RecordMetricsInput!) { recordMetrics(input: $input) { pointCount userErrors { message } } }';

async function throughMutation({ server, points, steps }: Load): Promise<number> {
  const ids = await heldJobs(server.client, 'mutation', JOBS);
  const stepsPerCall = POINTS_PER_CALL / KEYS.length;
  const rate = await timed('mutation', points, async () => {
    for (let from = 0; from < steps; from += stepsPerCall) {
      const columns = Array.from({ length: Math.min(stepsPerCall, steps - from) }, (_, index) => from + index);
      const values = columns.map(valueAt);
      const times = columns.map((step) => new Date((START_SECONDS + step) * 1000).toISOString());
      for (const jobId of ids) {
        const { recordMetrics: { userErrors } } = await server.client.request<{ recordMetrics: { userErrors: { message: string }[] } }>(RECORD, {
          input: { jobId, series: KEYS.map((key) => ({ key, steps: columns, values, times })) } });
        if (userErrors.length > 0) throw new Error(userErrors[0]?.message);
      }
    }
  });
  return checked(server, ids, points, rate);
}

const SUBMIT = 'mutation ($input: SubmitSweepInput!) { submitSweep(input: $input) { sweep { id } jobs { jobId } userErrors { message } } }';
const PROGRESS = 'subscription ($id: ID!) { sweepProgress(sweepId: $id) { total done } }';

/** Jobs of the local executor copy a file of metrics to where theirs is looked for; the clock runs from the submission to the last point. */
async function throughFiles({ server, points, steps }: Load): Promise<number> {
  const path = join(server.folder, 'metrics.jsonl');
  const file = createWriteStream(path, { mode: 0o644 });
  for (let step = 0; step < steps; step += 1) {
    const line = `${JSON.stringify({ step, time: START_SECONDS + step, ...Object.fromEntries(KEYS.map((key) => [key, valueAt(step)])) })}\n`;
    if (!file.write(line)) await once(file, 'drain');
  }
  file.end();
  await once(file, 'finish');
  const input = {
    project: 'bench', experiment: 'files', name: 'copied', command: ['sh', '-c', 'cp "$1" "$EXPGRAPH_METRICS"', 'sh', path],
    space: { seeds: { values: Array.from({ length: JOBS }, (_, seed) => seed) } },
  };
  let ids: string[] = [];
  const rate = await timed('files that jobs write', points, async () => {
    const { submitSweep } = await server.client.request<{ submitSweep: { sweep: { id: string }; jobs: { jobId: string }[] } }>(SUBMIT, { input });
    ids = submitSweep.jobs.map(({ jobId }) => jobId);
    for await (const { sweepProgress: { total, done } } of server.client.subscribe<{ sweepProgress: { total: number; done: number } }>(PROGRESS, { id: submitSweep.sweep.id })) {
      if (done === total) break;
    }
    const deadline = Date.now() + END_DEADLINE_MS;
    while (await countOf(server, ids) < points) if (Date.now() > deadline) throw new Error('the files were not read to their end');
  });
  return checked(server, ids, points, rate);
}

async function countOf({ pool }: MetricServer, ids: string[]): Promise<number> {
  const { rows: [row] } = await pool.query<{ count: number }>('select coalesce(sum(point_count), 0)::float8 as count, pg_sleep(0.1) from metric_series where job_id = any($1::uuid[])', [ids]);
  return row?.count ?? 0;
}

async function checked(server: MetricServer, ids: string[], points: number, rate: number): Promise<number> {
  const summed = await countOf(server, ids);
  const { rows: [row] } = await server.pool.query<{ count: number }>('select count(*)::float8 as count from metric_points where job_id = any($1::uuid[])', [ids]);
  if (summed !== points || row?.count !== points) throw new Error(`${points} points went in, ${row?.count} rows and summaries of ${summed} came of it`);
  await server.pool.query('truncate metric_points, metric_buckets');
  return rate;
}

export async function benchIngest(): Promise<BenchResult> {
  const { values } = parseArgs({ args: process.argv.slice(3), options: { points: { type: 'string', default: '5000000' } } });
  const points = Number(values.points);
  return withMetricServer(async (server) => {
    const load: Load = { server, points, steps: points / JOBS / KEYS.length };
    const copy = await copyRaw(load);
    const [ndjson, arrow, mutation, files] = [await throughNdjson(load), await throughArrow(load), await throughMutation(load), await throughFiles(load)];
    const bulk = Math.max(ndjson, arrow);
    return {
      goal: `bulk endpoint at least ${MIN_POINTS_PER_SECOND} points a second and at least ${MIN_SHARE_OF_COPY} of COPY`,
      ok: bulk >= MIN_POINTS_PER_SECOND && bulk >= MIN_SHARE_OF_COPY * copy,
      points, pointsPerSecond: { copy, ndjson, arrow, mutation, files }, shareOfCopy: rounded(bulk / copy),
    };
  });
}

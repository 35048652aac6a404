/** An experiment of many finished jobs, each with metrics, a checkpoint and a result, made by the writes of the product. */
import type pg from 'pg';
import { connect } from '../src/db/connect.ts';
import { upsertCheckpoints } from '../src/db/write/checkpoints.ts';
import { storeResults } from '../src/db/write/harvest.ts';
import { START_SECONDS, submitHeld, type MetricServer } from './metric-server.ts';
import { rounded } from './result.ts';

export const METRICS = ['val/loss', 'val/acc', 'train/loss'];
export const BATCH_SIZES = [16, 32, 64, 128, 256];
export const DROPOUTS = [0, 0.1, 0.2, 0.3, 0.5];
export const LEARNING_RATES = [0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1];
export const SEEDS = [0, 1, 2, 3];
/** Each is a sweep of its own. */
export const WIDTHS = [64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536];
const STEPS = 5;
const JOBS_PER_WRITE = 1000;
const BASE = {
  model: { name: 'resnet50', activation: 'gelu', norm: 'batch' }, data: { name: 'imagenet', augmentation: ['crop', 'flip'], workers: 8 },
  optim: { name: 'adamw', betas: [0.9, 0.999], warmup_steps: 500 }, epochs: 90, precision: 'bf16',
};

interface FilledJob {
  id: string;
  storage_path: string;
  number: number;
}

/** So many jobs, or a multiple of them, make whole sweeps: for each width all learning rates, batch sizes and seeds. */
export const JOB_COUNT_UNIT = WIDTHS.length * LEARNING_RATES.length * BATCH_SIZES.length * SEEDS.length;

/** Makes the experiment in the project `bench`, and answers the ids of its jobs. Throws when `jobCount` is not a multiple of `JOB_COUNT_UNIT`. */
export async function fillExperiment({ client, pool, databaseUrl, ingest }: MetricServer, experiment: string, jobCount: number): Promise<string[]> {
  const begun = performance.now();
  const units = jobCount / JOB_COUNT_UNIT;
  if (!Number.isInteger(units) || units === 0) throw new Error(`the number of jobs must be a multiple of ${JOB_COUNT_UNIT}`);
  const dropouts = units % DROPOUTS.length === 0 ? DROPOUTS : DROPOUTS.slice(0, 1);
  const decays = Array.from({ length: units / dropouts.length }, (_, index) => index / 1000);
  for (const width of WIDTHS) {
    await submitHeld(client, experiment, {
      base: { ...BASE, model: { ...BASE.model, width } }, seeds: { values: SEEDS },
      grid: [
        { key: 'optim.lr', values: LEARNING_RATES }, { key: 'optim.weight_decay', values: decays },
        { key: 'batch_size', values: BATCH_SIZES }, { key: 'model.dropout', values: dropouts },
      ],
    });
  }
  console.log(`${jobCount} jobs: submitted after ${rounded((performance.now() - begun) / 1000)} s`);
  const { rows } = await pool.query<FilledJob>(`select jobs.id, storage_path, (row_number() over (order by jobs.id))::int as number
    from jobs join experiments on experiments.id = experiment_id where experiments.name = $1`, [experiment]);
  await ingest(metricLines(rows), 'application/x-ndjson');
  console.log(`their metrics in after ${rounded((performance.now() - begun) / 1000)} s`);
  await finish(databaseUrl, pool, rows);
  await pool.query('vacuum analyze');
  console.log(`finished and at rest after ${rounded((performance.now() - begun) / 1000)} s`);
  return rows.map(({ id }) => id);
}

function* metricLines(jobs: readonly FilledJob[]): Generator<Uint8Array> {
  const encoder = new TextEncoder();
  const steps = Array.from({ length: STEPS }, (_, index) => index * 100);
  const times = steps.map((step) => START_SECONDS + step);
  for (const { id, number } of jobs) {
    // A value of its own for each job, the same in every run.
    const noise = ((number * 2_654_435_761) % 1_000_003) / 1_000_003;
    const values = steps.map((step) => 1 / (1 + step / 100) + noise);
    yield encoder.encode(METRICS.map((key) => `${JSON.stringify({ job_id: id, key, steps, values, times })}\n`).join(''));
  }
}

/** What the reconcilers write of jobs that completed. */
async function finish(databaseUrl: string, pool: pg.Pool, jobs: readonly FilledJob[]): Promise<void> {
  const connection = await connect(databaseUrl, { max: 1 });
  try {
    for (let start = 0; start < jobs.length; start += JOBS_PER_WRITE) {
      const part = jobs.slice(start, start + JOBS_PER_WRITE);
      await pool.query(`update jobs set state = 'COMPLETED', started_at = created_at, finished_at = now(), harvested_at = now() where id = any($1::uuid[])`, [part.map(({ id }) => id)]);
      await connection.database.transaction(async (transaction) => {
        await upsertCheckpoints(transaction, part.map(({ id, storage_path }) => ({
          jobId: id, path: `${storage_path}/checkpoints/last.ckpt`, attemptNumber: 1, state: 'COMPLETE', layout: 'PLAIN', step: { value: (STEPS - 1) * 100, source: 'NAME', confidence: 'CERTAIN' },
          epoch: null, loggedMetrics: null, isDeclared: false, sizeBytes: 1000, fileCount: 1, aliases: ['last'], writtenAt: new Date(START_SECONDS * 1000),
        })));
        await storeResults(transaction, part.map(({ id }) => ({ jobId: id, reportedMetrics: {}, artifacts: [] })));
      });
    }
  } finally {
    await connection.close();
  }
}

/** Metrics on their way from the files that real frameworks wrote into the database. */
import { cp, mkdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { retryJobs } from '../../src/actions/retry-jobs.ts';
import { submitSweep } from '../../src/actions/submit-sweep.ts';
import { RECORDED_RUNS } from '../domain/readers/job-folder.ts';
import { smallSweep } from '../support/actions.ts';
import { fakeClusterTest, putFile, type FakeCluster, type FakeClusterTest } from './fake-cluster.ts';

let at: FakeClusterTest;
let fake: FakeCluster;
let job: { id: string; storage_path: string };
beforeEach(async () => {
  at = await fakeClusterTest();
  fake = at.fake;
  await submitSweep(at.context, smallSweep({ space: { list: [{}] } }));
  await dispatch();
  fake.says.set(0, { state: 'RUNNING', startedAt: new Date() });
  job = (await at.db.pool.query('select id, storage_path from jobs')).rows[0];
});
afterEach(() => at.close());

const dispatch = () => fake.dispatch(at.db.database);
const observe = (seconds: number) => fake.observe(at.db.database, seconds);
const putRun = (name: string) => cp(join(RECORDED_RUNS, name), job.storage_path, { recursive: true });
const path = (...parts: string[]) => join(job.storage_path, ...parts);

async function seriesOf(key: string): Promise<[number, number, number][]> {
  const { rows } = await at.db.pool.query(`select p.step, p.value, p.attempt_number from metric_points p join metric_series s using (job_id, series_number)
    where s.key = $1 order by p.step, p.attempt_number`, [key]);
  return rows.map((row) => [Number(row.step), row.value, row.attempt_number]);
}
async function keys(): Promise<string[]> {
  return (await at.db.pool.query('select key from metric_series order by key')).rows.map((row) => row.key);
}
async function dropped(): Promise<Record<string, number>> {
  const { rows } = await at.db.pool.query('select reason, count from dropped_items');
  return Object.fromEntries(rows.map((row) => [row.reason, Number(row.count)]));
}
const pointCount = async (): Promise<number> => Number((await at.db.pool.query('select count(*) from metric_points')).rows[0].count);

test.each([
  ['lightning', ['late', 'train_loss', 'val_loss', 'epoch']],
  ['transformers', ['eval/loss', 'train/loss', 'train/learning_rate']],
  ['tensorboardx', ['val/loss', 'both/left/both']],
  ['mlflow', ['val/loss', 'accuracy', 'a key', 'broken']],
  ['trackio', ['loss', 'val/acc']],
])('what %s left in a job directory becomes series, and a second look adds nothing', async (name, expected) => {
  await putRun(name);
  await observe(1);
  expect(await keys()).toEqual(expect.arrayContaining(expected));
  const count = await pointCount();
  await observe(2);
  expect(await pointCount()).toBe(count);
});

describe('a key in two kinds of file', () => {
  test('counts once: the Trainer writes the same for itself and for TensorBoard', async () => {
    await putRun('transformers');
    await observe(1);
    expect((await seriesOf('eval/loss')).map(([step]) => step)).toEqual([2, 4, 6, 8, 10]);
    const { rows } = await at.db.pool.query(`select reader from series_readers where key = 'eval/loss'`);
    expect(rows).toEqual([{ reader: 'trainer_state.json' }]);
  });

  test('belongs to metrics.jsonl from when that has it, and to whichever came first among the others', async () => {
    await putFile(path('mlruns/0/r/metrics/loss'), '1700000000000 9 1\n');
    await observe(1);
    await putFile(path('metrics.csv'), 'step,loss,acc\n2,8,0.5\n');
    await observe(2);
    expect(await seriesOf('loss')).toEqual([[1, 9, 1]]);
    expect(await seriesOf('acc')).toEqual([[2, 0.5, 1]]);
    await putFile(path('metrics.jsonl'), '{"step":3,"loss":7}\n');
    await observe(3);
    await putFile(path('mlruns/0/r/metrics/loss'), '1700000000000 9 1\n1700000000000 6 4\n');
    await putFile(path('metrics.jsonl'), '{"step":3,"loss":7}\n{"step":4,"loss":6.5}\n');
    await observe(4);
    expect(await seriesOf('loss')).toEqual([[1, 9, 1], [3, 7, 1], [4, 6.5, 1]]);
  });
});

test('a resumed attempt overwrites what an earlier one logged at the same step, whose history stays', async () => {
  await putFile(path('mlruns/0/r1/metrics/loss'), '1700000000000 5 1\n1700000000000 4 2\n');
  await observe(1);
  fake.says.set(0, { state: 'FAILED', exitCode: 1 });
  await observe(2);
  await retryJobs(at.context, { ids: [job.id] });
  await dispatch();
  fake.says.set(0, { state: 'RUNNING', startedAt: new Date() });
  await putFile(path('mlruns/0/r2/metrics/loss'), '1700000000000 3 2\n1700000000000 2 3\n');
  await observe(3);
  expect(await seriesOf('loss')).toEqual([[1, 5, 1], [2, 4, 1], [2, 3, 2], [3, 2, 2]]);
  expect((await at.db.pool.query('select point_count, last_value, max_value from metric_series')).rows).toEqual([{ point_count: '3', last_value: 2, max_value: 5 }]);
});

test('a file that is emptied in place and written anew, longer than it was, is read from its start', async () => {
  const lines = (steps: number[], value: number) => steps.map((step) => `{"step":${step},"loss":${value}}\n`).join('');
  await putFile(path('metrics.jsonl'), lines([7, 8, 9], 1));
  await observe(1);
  const { ino } = await stat(path('metrics.jsonl'));
  await writeFile(path('metrics.jsonl'), lines([1, 2, 3, 4, 5], 2));
  expect((await stat(path('metrics.jsonl'))).ino).toBe(ino);
  fake.says.set(0, { state: 'COMPLETED', exitCode: 0 });
  await expect.poll(async () => {
    await observe(2);
    return (await at.db.pool.query('select state from jobs')).rows[0].state;
  }, { timeout: 60_000 }).toBe('COMPLETED');
  expect(await seriesOf('loss')).toEqual([...[1, 2, 3, 4, 5].map((step) => [step, 2, 1]), ...[7, 8, 9].map((step) => [step, 1, 1])]);
  expect(await dropped()).toEqual({});
});

test('thousands of files of MLflow are read over several rounds, and the job is not seen as ended before', async () => {
  await mkdir(path('mlruns/0/r/metrics'), { recursive: true });
  for (let index = 0; index < 4_100; index += 1) await writeFile(path(`mlruns/0/r/metrics/größe ${index}`), `1700000000000 ${index} 1\n`);
  fake.says.set(0, { state: 'COMPLETED', exitCode: 0 });
  const states: string[] = [];
  for (let round = 1; round <= 4; round += 1) {
    await observe(round);
    states.push((await at.db.pool.query('select state from jobs')).rows[0].state);
  }
  expect(await keys()).toHaveLength(4_100);
  expect(states[0]).not.toBe('COMPLETED');
  expect(states.at(-1)).toBe('COMPLETED');
});

test('a key for every step fills a job up to its bound; the rest is counted, and known keys go on', async () => {
  const lines = Array.from({ length: 20_100 }, (_, step) => `{"step":${step},"loss_${step}":1}\n`).join('');
  await putFile(path('metrics.jsonl'), `{"step":0,"loss":1}\n${lines}`);
  await observe(1);
  await putFile(path('metrics.jsonl'), `{"step":0,"loss":1}\n${lines}{"step":1,"loss":0.5,"new":1}\n`);
  await observe(2);
  expect(await keys()).toHaveLength(20_000);
  expect(await seriesOf('loss')).toEqual([[0, 1, 1], [1, 0.5, 1]]);
  expect(await dropped()).toEqual({ 'a metric beyond the most that a job may have': 102 });
});

test('what cannot be read is counted by reason on the job, and all else comes in', async () => {
  await putFile(path('metrics.jsonl'), 'garbage\n{"step":-1,"loss":1}\n{"step":9223372036854775807,"loss":1}\n{"step":1,"loss":1}\nmore garbage\n');
  await putFile(path('metrics.csv'), 'step,acc\n1,2,3\n2,0.5\n');
  await putFile(path('runs/a/events.out.tfevents.1'), 'no such thing at all');
  await observe(1);
  expect(await keys()).toEqual(['acc', 'loss']);
  expect(await dropped()).toEqual({
    'a line of metrics.jsonl is not valid JSON': 2, 'a line of metrics.jsonl has a negative step': 1,
    'a line of metrics.jsonl has a step beyond 9007199254740991, where whole numbers are no longer exact': 1,
    'a line of metrics.csv has another number of cells than its header': 1, 'the rest of a TensorBoard file behind a damaged record': 1,
  });
  expect((await at.db.pool.query('select dropped_line_count from jobs')).rows).toEqual([{ dropped_line_count: 6 }]);
});

/** Checkpoints on their way from the disk into the database and out through GraphQL. */
import { cp, mkdir, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { submitSweep } from '../../src/actions/submit-sweep.ts';
import { RECORDED_RUNS } from '../domain/readers/job-folder.ts';
import { smallSweep } from '../support/actions.ts';
import { fillWithFiles } from '../support/many-files.ts';
import { fakeClusterTest, putFile, type FakeCluster, type FakeClusterTest } from './fake-cluster.ts';

let at: FakeClusterTest;
let fake: FakeCluster;
let directory: string;
beforeEach(async () => {
  at = await fakeClusterTest();
  fake = at.fake;
  await submitSweep(at.context, smallSweep({ space: { list: [{}] } }));
  await fake.dispatch(at.db.database);
  fake.says.set(0, { state: 'RUNNING', startedAt: new Date() });
  directory = (await at.db.pool.query('select storage_path from jobs')).rows[0].storage_path;
});
afterEach(() => at.close());

const observe = (seconds: number) => fake.observe(at.db.database, seconds);
const rows = async (): Promise<any[]> => (await at.db.pool.query(`select substr(path, length($1) + 2) as path, state, layout, step::int, step_source, epoch, epoch_source, aliases,
  logged_metrics, file_count from checkpoints order by path collate "C"`, [directory])).rows;
const states = async (): Promise<Record<string, string>> => Object.fromEntries((await rows()).map(({ path, state }) => [path, state]));

test('what the Trainer saves is followed on disk: written, whole, cut short, deleted', async () => {
  await cp(join(RECORDED_RUNS, 'transformers'), directory, { recursive: true });
  await observe(1);
  expect(new Set(Object.values(await states()))).toEqual(new Set(['WRITING']));
  await observe(10);
  expect((await rows()).map(({ path, state, layout, step, step_source, epoch, epoch_source }) => [path, state, layout, step, step_source, epoch, epoch_source])).toEqual([
    ['checkpoints/checkpoint-10', 'COMPLETE', 'HUGGING_FACE', 10, 'FILE', 2.5, 'FILE'], ['checkpoints/checkpoint-8', 'COMPLETE', 'HUGGING_FACE', 8, 'FILE', 2, 'FILE'],
    ['checkpoints/sharded', 'COMPLETE', 'SAFETENSORS', null, null, null, null],
  ]);
  await rm(join(directory, 'checkpoints/checkpoint-8'), { recursive: true });
  await rm(join(directory, 'checkpoints/sharded/model-00002-of-00004.safetensors'));
  await observe(11);
  await observe(20);
  expect(await states()).toEqual({ 'checkpoints/checkpoint-10': 'COMPLETE', 'checkpoints/checkpoint-8': 'DELETED', 'checkpoints/sharded': 'PARTIAL' });
  // What a file said is not forgotten because only the name is seen again.
  expect((await rows())[1]).toMatchObject({ step: 8, step_source: 'FILE', epoch: 2 });
});

test('what the job says in checkpoints.jsonl is taken in: positions, metrics, aliases, and those that lie elsewhere', async () => {
  const time = '2026-01-01T00:00:00.000Z';
  await putFile(join(directory, 'checkpoints/epoch=1-step=2.ckpt'), 'x');
  await putFile(join(directory, 'weights/a/m.bin'), 'xy');
  await putFile(join(directory, 'checkpoints.jsonl'), [
    { path: 'checkpoints/epoch=1-step=2.ckpt', step: 77, epoch: null, metrics: { 'val/loss': 0.25 }, time, aliases: ['mine'] },
    { path: 'weights/a', step: 5, epoch: 1.5, time }, { path: '/elsewhere/model', step: 6, epoch: null, time },
    { path: 'x', step: -1, epoch: null }, { step: 1 }, { path: '..' },
  ].map((line) => JSON.stringify(line)).join('\n') + '\n{"path": "half');
  await observe(1);
  await observe(10);
  expect(await rows()).toMatchObject([
    { path: expect.any(String), state: 'COMPLETE', step: 6, step_source: 'LOGGED', layout: null },
    { path: 'checkpoints/epoch=1-step=2.ckpt', state: 'COMPLETE', step: 77, step_source: 'LOGGED', epoch: 1, epoch_source: 'NAME', layout: 'LIGHTNING', aliases: ['mine'], logged_metrics: { 'val/loss': 0.25 } },
    { path: 'weights/a', state: 'COMPLETE', step: 5, epoch: 1.5, layout: 'PLAIN', file_count: 1 },
  ]);
  // The file changes again: its step stays what the job said.
  await writeFile(join(directory, 'checkpoints/epoch=1-step=2.ckpt'), 'xyz');
  await utimes(join(directory, 'checkpoints/epoch=1-step=2.ckpt'), 1, 1);
  await rm(join(directory, 'weights'), { recursive: true });
  await observe(20);
  await observe(30);
  expect(await rows()).toMatchObject([{}, { state: 'COMPLETE', step: 77 }, { path: 'weights/a', state: 'DELETED', step: 5 }]);
  const { rows: dropped } = await at.db.pool.query('select reason, count::int from dropped_items order by reason');
  expect(dropped).toEqual([{ reason: 'a line of checkpoints.jsonl has a negative step', count: 1 }, { reason: 'a line of checkpoints.jsonl names no path that can be used', count: 2 }]);
});

test('what is called like an archive of a checkpoint is a checkpoint itself, unless it was archived there', async () => {
  for (const name of ['a.ckpt', 'a.ckpt.gz']) await putFile(join(directory, 'checkpoints', name), 'x');
  await observe(1);
  await observe(10);
  expect(await states()).toEqual({ 'checkpoints/a.ckpt': 'COMPLETE', 'checkpoints/a.ckpt.gz': 'COMPLETE' });
  await rm(join(directory, 'checkpoints/a.ckpt'));
  await at.db.pool.query("update checkpoints set state = 'ARCHIVED', archive_path = path || '.gz' where path like '%.ckpt'");
  await observe(20);
  expect(await states()).toEqual({ 'checkpoints/a.ckpt': 'ARCHIVED', 'checkpoints/a.ckpt.gz': 'COMPLETE' });
});

test('what is archived while the directory is listed stays so, though the listing still shows it in its old place', async () => {
  await putFile(join(directory, 'checkpoints/a.ckpt'), 'x');
  await observe(1);
  await observe(10);
  const { transport } = fake.cluster;
  const list = transport.list.bind(transport);
  vi.spyOn(transport, 'list').mockImplementation(async (request) => {
    const listed = await list(request);
    await at.db.pool.query("update checkpoints set state = 'ARCHIVED', archive_path = path || '.zst' where state = 'COMPLETE'");
    return listed;
  });
  await observe(11);
  expect((await at.db.pool.query('select state, archive_path is not null as has_archive from checkpoints')).rows).toEqual([{ state: 'ARCHIVED', has_archive: true }]);
});

test('the archive of what lay there before stays an archive when the path is written again, and is remembered', async () => {
  await putFile(join(directory, 'checkpoints/step=1.pt'), 'first');
  await observe(1);
  await observe(10);
  await rm(join(directory, 'checkpoints/step=1.pt'));
  await at.db.pool.query("update checkpoints set state = 'ARCHIVED', archive_path = path || '.zst', archive_bytes = 3, archived_at = now()");
  await putFile(join(directory, 'checkpoints/step=1.pt.zst'), 'old');
  await putFile(join(directory, 'checkpoints/step=1.pt'), 'second');
  for (const seconds of [20, 30, 40]) await observe(seconds);
  fake.says.set(0, { state: 'FAILED', exitCode: 1 });
  await observe(50);
  expect(await states()).toEqual({ 'checkpoints/step=1.pt': 'COMPLETE' });
  expect((await at.db.pool.query('select archive_path, earlier_archives from checkpoints')).rows).toEqual([
    { archive_path: null, earlier_archives: [{ path: join(directory, 'checkpoints/step=1.pt.zst'), bytes: 3, archivedAt: expect.any(String) }] }]);
});

test('a folder that turns out to hold checkpoints gives way to them', async () => {
  await mkdir(join(directory, 'checkpoints/run'), { recursive: true });
  await observe(1);
  await putFile(join(directory, 'checkpoints/run/step_5.pt'), 'x');
  await observe(2);
  await observe(20);
  expect(await states()).toEqual({ 'checkpoints/run': 'DELETED', 'checkpoints/run/step_5.pt': 'COMPLETE' });
});

test('a checkpoint of 30,000 files and loops of links hide nothing, and what was left out is told', async () => {
  const many = join(directory, 'checkpoints/step_5');
  await putFile(join(directory, 'checkpoints/step_9.pt'), 'x');
  await observe(1);
  await observe(10);
  await mkdir(many, { recursive: true });
  await fillWithFiles(many, 30_000);
  for (const target of ['.', '..', directory]) await symlink(target, join(directory, 'checkpoints', `loop${target.length}`));
  await putFile(join(directory, 'metrics.jsonl'), '{"step":1,"loss":1}\n');
  // The files were written by a real clock, however long that took.
  await observe(500);
  // It is not looked at again before.
  await observe(550);
  expect(await states()).toEqual({ 'checkpoints/step_5': 'COMPLETE', 'checkpoints/step_9.pt': 'COMPLETE' });
  const left = async () => Number((await at.db.pool.query('select unlisted_file_count as count from jobs')).rows[0].count);
  expect(await left()).toBeGreaterThan(10_000);
  expect((await at.db.pool.query('select key from metric_series')).rows).toEqual([{ key: 'loss' }]);
  await rm(many, { recursive: true });
  fake.says.set(0, { state: 'COMPLETED', exitCode: 0 });
  await observe(551);
  expect([await left(), await states()]).toEqual([0, { 'checkpoints/step_5': 'DELETED', 'checkpoints/step_9.pt': 'COMPLETE' }]);
});

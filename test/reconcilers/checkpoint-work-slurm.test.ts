/** What is asked for on checkpoints, carried out in SLURM jobs. */
import { execFile } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { SubmitError, type NamedJob } from '../../src/cluster/executor.ts';
import { CheckpointTest, content } from './checkpoint-test.ts';

let on: CheckpointTest;
let scripts: string[];
let named: NamedJob | null;
beforeEach(async () => {
  on = await CheckpointTest.open();
  scripts = [];
  named = { slurmJobId: '77', state: 'RUNNING' };
  on.fake.override({
    submit: async ({ token, rootDirectory, resources: { sbatchOptions } }, script) => {
      expect(sbatchOptions).toEqual({ 'no-requeue': '' });
      scripts.push(script);
      await mkdir(`${rootDirectory}/.expgraph/batches/${token}`, { recursive: true });
      return { slurmJobId: '77', taskSlurmJobIds: ['77'], answer: '77' };
    },
    findByName: () => Promise.resolve(named),
  });
});
afterEach(() => on.close());

const start = async (script: string): Promise<void> => {
  await writeFile(`${on.fake.cluster.settings.rootDirectory}/job.sh`, script);
  await promisify(execFile)('bash', [`${on.fake.cluster.settings.rootDirectory}/job.sh`]);
};

test('archives what its report tells, though nobody hears of the job itself', async () => {
  const job = await on.seed([1, 2]);
  await on.ask(job.ids, 'ARCHIVE', { place: 'SLURM_JOB' });
  await on.work.run();
  expect(await on.items()).toMatchObject([{ state: 'RUNNING' }, { state: 'RUNNING' }]);
  await on.work.run();
  expect(scripts).toHaveLength(1);
  await start(scripts[0]!);
  await on.work.run();
  expect(await on.files(job)).toEqual(['step=1.ckpt.zst', 'step=2.ckpt.zst']);
  expect((await on.items()).map(({ state }) => state)).toEqual(['DONE', 'DONE']);
  expect(await on.runs()).toMatchObject([{ slurmJobId: '77', endedAt: expect.any(Date) }]);
});

test.each(['ARCHIVE', 'DELETE'] as const)('%s leaves alone what was written while the job waited in the queue', async (action) => {
  const job = await on.seed([1]);
  await on.ask(job.ids, action, { place: 'SLURM_JOB', resources: { sbatchOptions: { requeue: '' } } });
  await on.work.run();
  await writeFile(`${job.directory}/checkpoints/step=1.ckpt`, content.toUpperCase());
  await start(scripts[0]!);
  await on.work.run();
  expect(await readFile(`${job.directory}/checkpoints/step=1.ckpt`, 'utf8')).toBe(content.toUpperCase());
  expect(await on.items()).toMatchObject([{ state: 'FAILED', problem: 'it has changed since it was asked for' }]);
  expect(await on.checkpoints()).toMatchObject([{ state: 'COMPLETE' }]);
});

test('what a job did not come to before it ended goes to the next one', async () => {
  const job = await on.seed([1]);
  await on.ask(job.ids, 'ARCHIVE', { place: 'SLURM_JOB' });
  await on.work.run();
  named = { slurmJobId: '77', state: 'TIMEOUT' };
  on.clockSeconds += 20;
  await on.work.run();
  await on.work.run();
  expect(scripts).toHaveLength(2);
  await start(scripts[1]!);
  await on.work.run();
  expect(await on.items()).toMatchObject([{ state: 'DONE', tries: 1 }]);
});

test('what is not in the queue for two minutes is begun with anew, also when the answer of sbatch was lost', async () => {
  const job = await on.seed([1]);
  on.fake.override({ submit: () => Promise.reject(new SubmitError('ambiguous', 'the line was cut')) });
  await on.ask(job.ids, 'ARCHIVE', { place: 'SLURM_JOB' });
  await on.work.run();
  named = null;
  on.clockSeconds += 60;
  await on.work.run();
  expect(await on.items()).toMatchObject([{ state: 'RUNNING' }]);
  on.clockSeconds += 80;
  await on.work.run();
  expect(await on.runs()).toMatchObject([{ endedAt: expect.any(Date) }, { endedAt: null }]);
  expect(await on.files(job)).toEqual(['step=1.ckpt']);
});

test('that is refused has failed, with the words of SLURM', async () => {
  const job = await on.seed([1]);
  on.fake.override({ submit: () => Promise.reject(new SubmitError('refused', 'sbatch: error: invalid partition specified: x')) });
  await on.ask(job.ids, 'ARCHIVE', { place: 'SLURM_JOB', resources: { partition: 'x' } });
  await on.work.run();
  expect(await on.items()).toMatchObject([{ state: 'FAILED', problem: expect.stringContaining('invalid partition') }]);
  await on.work.run();
  expect(on.work.isBusy()).toBe(false);
  expect(await readFile(`${job.directory}/checkpoints/step=1.ckpt`, 'utf8')).toBe(content);
});

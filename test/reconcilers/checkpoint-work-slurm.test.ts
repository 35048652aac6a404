/** What is asked for on checkpoints, carried out in SLURM jobs. */
import { execFile } from 'node:child_process';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
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

const report = async (text: string): Promise<void> => {
  const [run] = await on.runs();
  await writeFile(`${on.fake.cluster.settings.rootDirectory}/.expgraph/batches/${run!.token}/report`, text);
};
/** As a run that is killed at that moment leaves the checkpoint of step 1. */
const moveAway = async ({ directory, ids }: { directory: string; ids: string[] }): Promise<void> => {
  const old = `${directory}/checkpoints/.expgraph-${ids[0]}.old`;
  await mkdir(old);
  await rename(`${directory}/checkpoints/step=1.ckpt`, `${old}/step=1.ckpt`);
};
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
  await report(`begin\t${crypto.randomUUID()}\n`);
  named = { slurmJobId: '77', state: 'TIMEOUT' };
  on.clockSeconds += 20;
  await on.work.run();
  expect(scripts).toHaveLength(2);
  await start(scripts[1]!);
  await on.work.run();
  expect(await on.items()).toMatchObject([{ state: 'DONE', tries: 1 }]);
});

test.each([['two minutes', true, 110], ['half a minute when the answer of sbatch was lost', false, 20]])('what is not in the queue for %s is begun with anew, and does nothing if it comes after all', async (_, isAnswered, seconds) => {
  const job = await on.seed([1]);
  if (!isAnswered) {
    on.fake.override({ submit: async ({ token, rootDirectory }, script) => {
      scripts.push(script);
      await mkdir(`${rootDirectory}/.expgraph/batches/${token}`, { recursive: true });
      throw new SubmitError('ambiguous', 'the line was cut');
    } });
  }
  await on.ask(job.ids, 'ARCHIVE', { place: 'SLURM_JOB' });
  await on.work.run();
  named = null;
  on.clockSeconds += seconds;
  await on.work.run();
  expect(await on.items()).toMatchObject([{ state: 'RUNNING' }]);
  on.clockSeconds += 20;
  await on.work.run();
  expect([await on.runs(), scripts.length]).toMatchObject([[{ endedAt: expect.any(Date) }, { endedAt: null }], 2]);
  await start(scripts[0]!);
  expect(await on.files(job)).toEqual(['step=1.ckpt']);
});

test('SLURM jobs that end and tell nothing are not submitted for ever', async () => {
  const job = await on.seed([1]);
  await on.ask(job.ids, 'ARCHIVE', { place: 'SLURM_JOB' });
  for (let tries = 0; tries < 5; tries += 1) {
    named = { slurmJobId: '77', state: 'RUNNING' };
    await on.work.run();
    named = { slurmJobId: '77', state: 'NODE_FAIL' };
    on.clockSeconds += 20;
    await on.work.run();
    on.clockSeconds += 61;
  }
  await on.work.run();
  expect([await on.items(), scripts.length, await on.files(job)]).toMatchObject([[{ state: 'FAILED', problem: 'it was given up: SLURM job 77 ended: NODE_FAIL' }], 5, ['step=1.ckpt']]);
});

test('what somebody cancels in SLURM is given up, once all is in order', async () => {
  const job = await on.seed([1]);
  await on.ask(job.ids, 'ARCHIVE', { place: 'SLURM_JOB' });
  await on.work.run();
  await moveAway(job);
  named = { slurmJobId: '77', state: 'CANCELLED' };
  on.clockSeconds += 20;
  await on.work.run();
  on.clockSeconds += 61;
  await on.work.run();
  expect([await on.items(), scripts.length, await on.files(job)]).toMatchObject([[{ state: 'FAILED', problem: 'it was given up: SLURM job 77 ended: CANCELLED' }], 1, ['step=1.ckpt']]);
});

test('what waits says for what', async () => {
  for (const step of [1, 2, 3]) await on.ask((await on.seed([step])).ids, 'ARCHIVE', { place: 'SLURM_JOB' });
  named = { slurmJobId: '77', state: 'PENDING' };
  for (let round = 0; round < 3; round += 1, on.clockSeconds += 20) await on.work.run();
  const waiting = async () => (await on.items()).map(({ state, problem }) => [state, problem]).sort();
  expect(await waiting()).toEqual([['PENDING', '2 SLURM jobs for checkpoints are to end first'], ...Array.from({ length: 2 }, () => ['RUNNING', 'SLURM job 77 waits in the queue of its cluster'])]);
  named = { slurmJobId: '77', state: 'RUNNING' };
  await on.work.run();
  expect((await waiting()).slice(1)).toEqual([['RUNNING', null], ['RUNNING', null]]);
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

test('that is refused when a second one is needed fails when what the first left half done is in order', async () => {
  const job = await on.seed([1]);
  await on.ask(job.ids, 'ARCHIVE', { place: 'SLURM_JOB' });
  await on.work.run();
  await moveAway(job);
  named = { slurmJobId: '77', state: 'TIMEOUT' };
  on.clockSeconds += 20;
  await on.work.run();
  on.fake.override({ submit: () => Promise.reject(new SubmitError('refused', 'sbatch: error: invalid account')) });
  on.clockSeconds += 61;
  await on.work.run();
  expect([await on.items(), await on.files(job)]).toMatchObject([[{ state: 'FAILED', problem: expect.stringContaining('invalid account') }], ['step=1.ckpt']]);
});

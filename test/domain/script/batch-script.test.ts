import { describe, expect, it } from 'vitest';
import { UserError } from '../../../src/domain/errors.ts';
import { renderBatchScript, taskScriptBytes } from '../../../src/domain/script/batch-script.ts';
import { sbatchArguments } from '../../../src/domain/script/sbatch-arguments.ts';
import { batchOf, identityOf, plainResources, taskOf } from '../../support/batches.ts';

const ROOT = '/scratch/ada/expgraph';
const train = identityOf({ command: ['python', 'train.py', '{overrides}', '--out={job_dir}'], config: { optim: { lr: 0.1, name: 'sgd' }, seed: 3 } });
const resources = {
  ...plainResources, gpus: 2, gpuType: 'rtx8000', cpus: 12, memoryMiB: 80_000, timeLimitMinutes: 2820, partition: 'gpu', account: 'cds', qos: 'normal',
  sbatchOptions: { constraint: 'rtx8000&ib', exclusive: '', comment: 'a # sign' },
};

describe('the script of a batch', () => {
  it('of a single job', async () => {
    const batch = batchOf(ROOT, [taskOf(ROOT, 'lr=0.1', { identity: { ...train, workingDirectory: '/scratch/ada/repos/resnet' } })], { resources });
    await expect(renderBatchScript(batch)).toMatchFileSnapshot('../../golden/single.sh');
  });

  it('of an array of three', async () => {
    const tasks = [0, 1, 2].map((seed) => taskOf(ROOT, `seed=${seed}`, {
      identity: { ...train, config: { seed } }, attemptNumber: seed + 1, resumeCheckpointPath: seed === 0 ? null : `${ROOT}/last.ckpt`,
    }));
    const setupScript = 'module load cuda\nsource /scratch/ada/venv/bin/activate';
    await expect(renderBatchScript(batchOf(ROOT, tasks, { resources: { ...resources, sbatchOptions: { signal: 'B:TERM@60' } }, setupScript }))).toMatchFileSnapshot('../../golden/array.sh');
  });

  it('with values that a shell would act on', async () => {
    const text = `it's "quoted" $(touch pwned) \`id\` $HOME \\ \r\n#SBATCH --job-name=evil\n雪 🙂`;
    const identity = identityOf({ command: ['echo', text, '{overrides}'], config: { text }, environment: { NOTE: text } });
    await expect(renderBatchScript(batchOf('/scratch/100%/ünï', [taskOf('/scratch/100%/ünï', text, { identity })]))).toMatchFileSnapshot('../../golden/nasty.sh');
  });

  it('says the same to sbatch in its header and in the arguments, which outrank the account\'s SBATCH_* variables', () => {
    const batch = batchOf(ROOT, [taskOf(ROOT, 'a')], { resources });
    const header = renderBatchScript(batch).split('\n').filter((line) => line.startsWith('#SBATCH ')).map((line) => line.slice('#SBATCH '.length).replaceAll('"', ''));
    expect(sbatchArguments(batch)).toEqual(header);
  });

  it('has no carriage return, which sbatch refuses', () => {
    expect(renderBatchScript(batchOf(ROOT, [taskOf(ROOT, 'a\r\nb', { identity: identityOf({ config: { text: '\r\n' } }) })]))).not.toContain('\r');
  });

  it('names every value that sbatch would misread', () => {
    const bad = { ...resources, partition: 'gpu --wrap', account: 'a"b', gpus: 1.5, timeLimitMinutes: 0, sbatchOptions: { 'bad option': '1', comment: 'two\nlines' } };
    const error = thrownBy(() => renderBatchScript(batchOf('relative/root', [taskOf(ROOT, 'a')], { resources: bad })));
    expect(error.faults.map(({ field }) => field.join('.'))).toEqual([
      'rootDirectory', 'rootDirectory', 'rootDirectory', 'resources.partition', 'resources.account', 'resources.gpus', 'resources.timeLimitMinutes',
      'resources.sbatchOptions.bad option', 'resources.sbatchOptions.comment',
    ]);
  });

  it('refuses a NUL byte and a program with "=" in its name', () => {
    expect(thrownBy(() => taskScriptBytes(taskOf(ROOT, 'a\0b'))).message).toContain('NUL');
    expect(thrownBy(() => taskScriptBytes(taskOf(ROOT, 'a', { identity: identityOf({ command: ['./x=1'] }) }))).message).toContain('"="');
  });
});

function thrownBy(action: () => unknown): UserError {
  try {
    action();
  } catch (error) {
    if (error instanceof UserError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

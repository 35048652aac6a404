/** A SLURM that answers oddly: accounting that fails, a login shell that greets. */
import { expect, test } from 'vitest';
import type { TrackedAttempt } from '../../../src/cluster/executor.ts';
import { openSlurmExecutor } from '../../../src/cluster/slurm/executor.ts';
import type { ExecResult, Transport } from '../../../src/cluster/transport.ts';

const answer = (stdout: string, stderr = '', exitCode = 0): ExecResult => ({ exitCode, signal: null, stdout: Buffer.from(stdout), stderr: Buffer.from(stderr) });

function executorWithSacct(sacct: ExecResult): ReturnType<typeof openSlurmExecutor> {
  const exec = (argv: string[]): Promise<ExecResult> => Promise.resolve(argv.includes('id') ? answer('me\n') : argv.includes('sacct') ? sacct : answer(''));
  return openSlurmExecutor({ exec } as Transport);
}

const attempt: TrackedAttempt = {
  token: 'eg-abc', taskIndex: 0, taskCount: 1, slurmJobId: null, jobDirectory: '/scratch/j', attemptNumber: 1, submittedAt: new Date(), timeLimitMinutes: null, startedAt: null, restart: 0,
};

test('says that absence means nothing when sacct fails', async () => {
  const failing = executorWithSacct(answer('', 'sacct: error: slurm_persist_conn_open: Connection refused', 1));
  expect(await failing.observe([attempt])).toMatchObject({ observations: [], isIncomplete: true });
});

test('goes by the queue alone where there is no accounting', async () => {
  const without = executorWithSacct(answer('', 'Slurm accounting storage is disabled', 1));
  expect(await without.observe([attempt])).toMatchObject({ observations: [], problems: [], isIncomplete: false, hasAccounting: false });
});

test('does not ask again for accounting that is switched off, nor calls it an error', async () => {
  let askedCount = 0;
  const executor = openSlurmExecutor({ exec: (argv: string[]) => {
    if (argv.includes('sacct')) askedCount += 1;
    return Promise.resolve(argv.includes('id') ? answer('me\n') : argv.includes('sacct') ? answer('', 'Slurm accounting storage is disabled', 1) : answer(''));
  } } as Transport);
  for (let round = 0; round < 3; round += 1) expect((await executor.observe([{ ...attempt, slurmJobId: '7' }])).problems).toEqual([]);
  expect(askedCount).toBe(1);
});

test('has seen a job that was put back into the queue, though accounting does not tell yet how its run ended', async () => {
  const exec = (argv: string[]): Promise<ExecResult> => Promise.resolve(answer(
    argv.includes('id') ? 'me\n' : argv.includes('squeue') ? '7|PENDING|BeginTime||N/A|2026-01-01T10:05:00|10:00|0:00|eg-abc\n' : ''));
  const { observations } = await openSlurmExecutor({ exec } as Transport).observe([{ ...attempt, slurmJobId: '7', startedAt: new Date('2026-01-01T10:00:00Z') }]);
  expect(observations).toMatchObject([{ slurmJobId: '7', state: 'COMPLETING', earlierRuns: [] }]);
});

test('has a whole answer when sacct knows of nothing', async () => {
  expect(await executorWithSacct(answer('')).observe([attempt])).toMatchObject({ observations: [], problems: [], isIncomplete: false });
});

test('asks for the jobs of its own account, whatever a login shell prints before the name', async () => {
  const asked: string[][] = [];
  const executor = openSlurmExecutor({ exec: (argv: string[]) => {
    asked.push(argv);
    return Promise.resolve(answer(argv.includes('id') ? 'Welcome to the cluster\nme\n' : ''));
  } } as Transport);
  await executor.observe([attempt]);
  const squeue = asked.find((argv) => argv.includes('squeue')) ?? [];
  expect(squeue[squeue.lastIndexOf('-u') + 1]).toBe('me');
});

/** A SLURM that answers oddly: accounting that fails, a login shell that greets. */
import { afterEach, expect, test, vi } from 'vitest';
import type { TrackedAttempt } from '../../../src/cluster/executor.ts';
import { openSlurmExecutor } from '../../../src/cluster/slurm/executor.ts';
import type { ExecResult, Transport } from '../../../src/cluster/transport.ts';

const answer = (stdout: string, stderr = '', exitCode = 0): ExecResult => ({ exitCode, signal: null, stdout: Buffer.from(stdout), stderr: Buffer.from(stderr) });

afterEach(() => { vi.useRealTimers(); });

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
  }, read: async (ranges) => ranges.map(() => null) } as Transport);
  for (let round = 0; round < 3; round += 1) expect((await executor.observe([{ ...attempt, slurmJobId: '7' }])).problems).toEqual([]);
  expect(askedCount).toBe(1);
});

test('has seen a job that was put back into the queue, though accounting does not tell yet how its run ended', async () => {
  const exec = (argv: string[]): Promise<ExecResult> => Promise.resolve(answer(
    argv.includes('id') ? 'me\n' : argv.includes('squeue') ? '7|PENDING|BeginTime||N/A|2026-01-01T10:05:00|10:00|0:00|eg-abc\n' : ''));
  const { observations } = await openSlurmExecutor({ exec } as Transport).observe([{ ...attempt, slurmJobId: '7', startedAt: new Date('2026-01-01T10:00:00Z') }]);
  expect(observations).toMatchObject([{ slurmJobId: '7', state: 'COMPLETING', earlierRuns: [] }]);
});

test('does not take a job for requeued because the clock of its node is behind, where accounting knows of one run', async () => {
  const known = { ...attempt, slurmJobId: '7', startedAt: new Date('2026-01-01T10:00:00Z') };
  const exec = (argv: string[]): Promise<ExecResult> => Promise.resolve(answer(
    argv.includes('id') ? 'me\n' : argv.includes('squeue') ? '7|RUNNING|None|n1|2026-01-01T10:04:02|2026-01-01T10:04:00|10:00|0:05|eg-abc\n'
      : '7|eg-abc|RUNNING|0:0|0:0|None|n1|2026-01-01T10:04:02|Unknown|5||2026-01-01T10:04:00\n'));
  expect((await openSlurmExecutor({ exec } as Transport).observe([known])).observations).toMatchObject([{ state: 'RUNNING', earlierRuns: [] }]);
});

test('waits for accounting anew after each requeue, however long ago the one before was', async () => {
  vi.useFakeTimers({ toFake: ['Date'], now: new Date('2026-01-01T10:05:01Z') });
  let squeue = '7|PENDING|BeginTime||N/A|2026-01-01T10:05:00|10:00|0:00|eg-abc\n';
  let sacct = '';
  const executor = openSlurmExecutor({ exec: (argv: string[]) => Promise.resolve(answer(argv.includes('id') ? 'me\n' : argv.includes('squeue') ? squeue : sacct)) } as Transport);
  const first = { ...attempt, slurmJobId: '7', startedAt: new Date('2026-01-01T10:00:00Z') };
  await executor.observe([first]);
  sacct = '7|eg-abc|NODE_FAIL|0:0|0:0|None|n1|2026-01-01T10:00:00|2026-01-01T10:04:00|240||2026-01-01T09:59:00\n';
  expect((await executor.observe([first])).observations).toMatchObject([{ state: 'PENDING', earlierRuns: [{ state: 'NODE_FAIL' }] }]);

  const second = { ...first, attemptNumber: 2, restart: 1, startedAt: new Date('2026-01-01T11:00:00Z') };
  squeue = '7|PENDING|BeginTime||N/A|2026-01-01T11:30:00|10:00|0:00|eg-abc\n';
  vi.setSystemTime(new Date('2026-01-01T11:30:01Z'));
  expect((await executor.observe([second])).observations).toMatchObject([{ state: 'COMPLETING', earlierRuns: [] }]);
  squeue = '7|FAILED|NonZeroExitCode|n1|2026-01-01T11:00:00|2026-01-01T10:05:00|10:00|30:00|eg-abc\n';
  expect((await executor.observe([second])).observations).toMatchObject([{ state: 'COMPLETING' }]);
});

test('never takes the end of a later run, of which accounting says nothing, for that of the one that is known', async () => {
  vi.useFakeTimers({ toFake: ['Date'], now: new Date('2026-01-01T10:20:00Z') });
  const exec = (argv: string[]): Promise<ExecResult> => Promise.resolve(answer(
    argv.includes('id') ? 'me\n' : argv.includes('squeue') ? '7|FAILED|NonZeroExitCode|n1|2026-01-01T10:10:00|2026-01-01T10:09:00|10:00|0:05|eg-abc\n' : ''));
  const executor = openSlurmExecutor({ exec } as Transport);
  for (const minute of ['20', '21', '24']) {
    vi.setSystemTime(new Date(`2026-01-01T10:${minute}:00Z`));
    expect((await executor.observe([{ ...attempt, slurmJobId: '7', startedAt: new Date('2026-01-01T10:00:00Z') }])).observations).toMatchObject([{ state: 'COMPLETING' }]);
  }
});

test('tells of a job that had ended, was put back and has ended again between two looks, until somebody asks about it', async () => {
  const ended = (id: string, submittedAt: string): string => `${id}|COMPLETED|None|n1|${submittedAt}|${submittedAt}|10:00|0:05|eg-abcdefghij-x\n`;
  let squeue = '';
  const executor = openSlurmExecutor({ exec: (argv: string[]) => Promise.resolve(answer(argv.includes('id') ? 'me\n' : argv.includes('squeue') ? squeue : '')) } as Transport);
  const strangers = async (asked: TrackedAttempt[] = []): Promise<string[]> => (await executor.observe(asked)).strangers.map(({ slurmJobId, taskIndexes, state }) => `${[slurmJobId, ...taskIndexes ?? []].join('_')} ${state}`);
  squeue = ended('7', '2026-01-01T10:00:00') + ended('8_0', '2026-01-01T10:00:00') + ended('8_1', '2026-01-01T10:00:00');
  expect(await strangers()).toEqual([]);
  expect(await strangers()).toEqual([]);
  squeue = ended('7', '2026-01-01T10:01:00') + ended('8_0', '2026-01-01T10:00:00') + ended('8_1', '2026-01-01T10:02:00') + ended('9', '2026-01-01T10:02:00');
  expect(await strangers()).toEqual(['7 COMPLETED', '8_1 COMPLETED']);
  // As long as it is shown, for the first who is told may fail to do something about it.
  expect(await strangers()).toEqual(['7 COMPLETED', '8_1 COMPLETED']);
  expect(await strangers([{ ...attempt, token: 'eg-abcdefghij-x', slurmJobId: '7' }])).toEqual(['8_1 COMPLETED']);
  // Grouped otherwise, they are the same tasks.
  squeue = ended('8_[0-2]', '2026-01-01T10:00:00');
  expect(await strangers()).toEqual([]);
  squeue = ended('8_[0,2]', '2026-01-01T10:00:00') + ended('8_1', '2026-01-01T10:02:00');
  expect(await strangers()).toEqual(['8_1 COMPLETED']);
  squeue = ended('8_2', '2026-01-01T10:00:00') + ended('8_[0-1]', '2026-01-01T10:02:00');
  expect(await strangers()).toEqual(['8_0_1 COMPLETED']);
  squeue = '';
  expect(await strangers()).toEqual([]);
});

test('does not take the end of an earlier run for that of the present one, of which accounting has no row yet', async () => {
  const earlier = '7|eg-abc|NODE_FAIL|0:0|0:0|None|n1|2026-01-01T10:00:00|2026-01-01T10:04:00|240||2026-01-01T09:59:00\n';
  const second = { ...attempt, slurmJobId: '7', attemptNumber: 2, restart: 1, submittedAt: new Date('2026-01-01T10:05:00Z'), startedAt: new Date('2026-01-01T10:06:00Z') };
  expect((await executorWithSacct(answer(earlier)).observe([second])).observations).toEqual([]);
  expect((await executorWithSacct(answer(earlier)).observe([{ ...second, startedAt: null }])).observations).toEqual([]);
  const own = '7|eg-abc|COMPLETED|0:0|0:0|None|n2|2026-01-01T10:06:00|2026-01-01T10:07:00|60||2026-01-01T10:04:30\n';
  expect((await executorWithSacct(answer(earlier + own)).observe([second])).observations).toMatchObject([{ state: 'COMPLETED', earlierRuns: [{ state: 'NODE_FAIL' }] }]);
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

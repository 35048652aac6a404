/** A SLURM site that keeps no accounts: how jobs end there is told by the queue, for some minutes, and by what they write themselves. */
import pino from 'pino';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { submitSweep } from '../../src/actions/submit-sweep.ts';
import { openSlurmExecutor } from '../../src/cluster/slurm/executor.ts';
import type { ExecResult } from '../../src/cluster/transport.ts';
import { LOST_AFTER_SECONDS } from '../../src/domain/attempt-change.ts';
import { exitRecordPath, ownerPath } from '../../src/domain/layout.ts';
import { ClusterContact } from '../../src/reconcilers/cluster-contact.ts';
import { SubmitRoom } from '../../src/reconcilers/submit-room.ts';
import { smallSweep } from '../support/actions.ts';
import { fakeClusterTest, putFile, type FakeCluster, type FakeClusterTest } from './fake-cluster.ts';

let at: FakeClusterTest;
let fake: FakeCluster;
let directory: string;
let token: string;
/** What squeue prints. */
let queue: string;

const ID = '1001';
const STARTED = '2026-01-01T10:00:00';

beforeEach(async () => {
  at = await fakeClusterTest();
  fake = at.fake;
  await submitSweep(at.context, smallSweep({ space: { grid: [{ key: 'n', values: [1] }] } }));
  await fake.dispatch(at.db.database);
  const { rows: [row] } = await at.db.pool.query<{ storage_path: string; token: string }>('select storage_path, token from jobs, batches');
  ({ storage_path: directory, token } = row!);
  const answer = (stdout: string, stderr = '', exitCode = 0): ExecResult => ({ exitCode, signal: null, stdout: Buffer.from(stdout), stderr: Buffer.from(stderr) });
  const slurm = openSlurmExecutor({ ...fake.cluster.transport, exec: async (argv) => {
    if (argv.includes('id')) return answer('me\n');
    return argv.includes('sacct') ? answer('', 'Slurm accounting storage is disabled', 1) : answer(argv.includes('squeue') ? queue : '');
  } });
  fake.override({ observe: (attempts) => slurm.observe(attempts) });
  await runs(1);
  queue = listed('RUNNING');
  await fake.observe(at.db.database, 0);
  expect(await attempts()).toEqual(['1 RUNNING']);
});
afterEach(() => at.close());

/** A row of squeue; times are of the newest run. */
const listed = (state: string, submitted = '2026-01-01T09:59:00', started = STARTED): string => `${ID}|${state}|None|n1|${started}|${submitted}|10:00|0:30|${token}\n`;
const runs = (attempt: number): Promise<void> => putFile(ownerPath(directory, attempt), `slurm ${ID}\nbatch ${token}\n`);
const ends = (attempt: number, exitCode: number): Promise<void> => putFile(exitRecordPath(directory, attempt),
  JSON.stringify({ attempt, exitCode, signal: null, terminated: false, warned: false, startedAt: `${STARTED}Z`, finishedAt: '2026-01-01T10:05:00Z', host: 'n1' }));
async function attempts(): Promise<string[]> {
  const { rows } = await at.db.pool.query<{ line: string }>("select concat_ws(' ', number, state, reason) as line from attempts order by number");
  return rows.map(({ line }) => line);
}

test('a job that is gone from the queue and wrote nothing is LOST after the stated time, not before; an exit record that comes later overrules that', async () => {
  queue = '';
  for (const seconds of [5, LOST_AFTER_SECONDS / 2, LOST_AFTER_SECONDS - 5]) await fake.observe(at.db.database, seconds);
  expect(await attempts()).toEqual(['1 RUNNING']);
  await fake.observe(at.db.database, LOST_AFTER_SECONDS + 10);
  expect(await attempts()).toEqual([expect.stringMatching(/^1 LOST neither the queue, nor accounting, nor an exit record has known of it for 10 minutes$/)]);
  await ends(1, 0);
  await fake.observe(at.db.database, LOST_AFTER_SECONDS + 20);
  expect(await attempts()).toEqual(['1 COMPLETED']);
});

describe('a requeue that nobody saw is followed from the start guards', () => {
  test('when its run has ended and left the queue: its exit record tells how', async () => {
    await runs(2);
    await ends(2, 3);
    queue = '';
    await fake.observe(at.db.database, 10);
    await fake.observe(at.db.database, 20);
    expect(await attempts()).toEqual(['1 CANCELLED requeued', '2 FAILED exit code 3']);
  });

  test('when the queue still shows that it has ended, also after several', async () => {
    await runs(2);
    await runs(3);
    await ends(3, 0);
    queue = listed('COMPLETED', '2026-01-01T10:20:00', '2026-01-01T10:21:00');
    await fake.observe(at.db.database, 10);
    expect(await attempts()).toEqual(['1 CANCELLED requeued', '2 CANCELLED requeued', '3 COMPLETED']);
  });

  test('when its run is under way, though it was put back so soon after its start that clocks could be to blame', async () => {
    await runs(2);
    queue = listed('RUNNING', '2026-01-01T10:00:20', '2026-01-01T10:00:30');
    await fake.observe(at.db.database, 10);
    expect(await attempts()).toEqual(['1 CANCELLED requeued', '2 RUNNING']);
  });

  test.each([['waits again', '|n1|', '||'], ['runs again', 'PENDING', 'RUNNING']])('and what had failed by itself before it was put back stays FAILED (it %s)', async (_, from, to) => {
    await ends(1, 3);
    queue = '';
    await fake.observe(at.db.database, 10);
    expect(await attempts()).toEqual(['1 FAILED exit code 3']);
    if (to === 'RUNNING') await runs(2);
    queue = listed('PENDING', '2026-01-01T10:20:00', '2026-01-01T10:21:00').replace(from, to);
    await fake.observe(at.db.database, 20);
    expect(await attempts()).toEqual(['1 FAILED exit code 3', expect.stringContaining(`2 ${to === 'RUNNING' ? to : 'PENDING'}`)]);
  });

  test('and what had ended by itself ended so, though nobody had seen that when it was put back', async () => {
    await ends(1, 3);
    await runs(2);
    await ends(2, 0);
    await runs(3);
    queue = listed('RUNNING', '2026-01-01T10:40:00', '2026-01-01T10:41:00');
    await fake.observe(at.db.database, 10);
    expect(await attempts()).toEqual(['1 FAILED exit code 3', '2 COMPLETED', '3 RUNNING']);
  });

  test.each([['TERM', { exitCode: 143, signal: 15, terminated: true }], ['KILL', { exitCode: 137, signal: 9 }], ['a warning that it answered', { exitCode: 1, warned: true }]])(
    'and what was ended by it, with %s, reads requeued', async (_, change) => {
      await putFile(exitRecordPath(directory, 1), JSON.stringify({ attempt: 1, signal: null, terminated: false, warned: false, host: 'n1', ...change }));
      await runs(2);
      queue = listed('RUNNING', '2026-01-01T10:20:00', '2026-01-01T10:21:00');
      await fake.observe(at.db.database, 10);
      expect(await attempts()).toEqual(['1 CANCELLED requeued', '2 RUNNING']);
    });

  test('when it waits once more', async () => {
    await runs(2);
    queue = listed('PENDING', '2026-01-01T10:20:00').replace('|n1|', '||');
    await fake.observe(at.db.database, 10);
    expect(await attempts()).toEqual(['1 CANCELLED requeued', '2 CANCELLED requeued', '3 PENDING']);
  });

  test('but the guard of a retry, which another execution holds, is none of its runs', async () => {
    await putFile(ownerPath(directory, 2), 'slurm 1002\nbatch eg-other\n');
    queue = '';
    await ends(1, 3);
    await fake.observe(at.db.database, 10);
    expect(await attempts()).toEqual(['1 FAILED exit code 3']);
  });
});

test('that there is no accounting is logged once, however often the cluster is asked about itself', async () => {
  const lines: string[] = [];
  const logger = pino({}, { write: (line: string) => { lines.push(line); } });
  const { describe: describeFake } = fake.cluster.executor;
  fake.override({ describe: async () => ({ ...await describeFake(), hasAccounting: false }) });
  const contact = new ClusterContact({ database: at.db.database, cluster: fake.cluster, room: new SubmitRoom(), logger });
  for (let round = 0; round < 3; round += 1) await contact.describe();
  expect(lines.filter((line) => line.includes('keeps no accounts'))).toHaveLength(1);
});

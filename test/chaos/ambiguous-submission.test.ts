/** Submissions whose answer is lost, on a real SLURM: the fault is in the `sbatch` that is found first, or in the connection. */
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { openSlurmExecutor } from '../../src/cluster/slurm/executor.ts';
import type { Cluster } from '../../src/cluster/executor.ts';
import type { Transport } from '../../src/cluster/transport.ts';
import type { SbatchFault } from '../rig/door.ts';
import { until } from '../rig/processes.ts';
import { ensureRig, rigUnavailableReason, type Rig } from '../rig/rig.ts';
import { openRigSite, type RigSite } from './rig-site.ts';

const JOBS = 3;

interface Outcome {
  states: string[];
  attempts: number[];
  /** A line for each time that a job's work really started. */
  executions: string[];
  submissions: { state: string; slurmJobId: string | null; error: string | null }[];
  /** What SLURM says of every job under one of our tokens, a row for each array task. */
  accounted: string[];
}

describe.skipIf(rigUnavailableReason() !== null)('a submission whose answer is lost', () => {
  let rig: Rig;
  let site: RigSite;
  beforeAll(async () => { rig = await ensureRig(); }, 180_000);
  beforeEach(async () => { site = await openRigSite(rig, 'alpha'); });
  afterEach(async () => { await site.close(); }, 60_000);

  /** Submits a sweep while the fault is in place and waits until every job has ended. */
  async function run(fault: SbatchFault, options: { cluster?: Cluster; meanwhile?: () => Promise<void> } = {}): Promise<Outcome> {
    site.door.breakNextSbatch(fault);
    await site.submit(fault, 'sleep 1', JOBS);
    site.start(options.cluster);
    await options.meanwhile?.();
    await site.untilEnded();
    const { rows: jobs } = await site.db.pool.query<{ state: string; attempt_count: number }>('select state, attempt_count from jobs order by id');
    const { rows: batches } = await site.db.pool.query<{ token: string; state: string; slurm_job_id: string | null; error: string | null }>('select * from batches order by submitted_at');
    const accounted = await site.slurm('squeue', '-h', '-r', '-t', 'all', '--name', batches.map(({ token }) => token).join(','), '-o', '%i %T');
    return {
      states: jobs.map(({ state }) => state), attempts: jobs.map((job) => job.attempt_count), executions: await site.executions(),
      submissions: batches.map(({ state, slurm_job_id, error }) => ({ state, slurmJobId: slurm_job_id, error })),
      accounted: accounted.trim().split('\n'),
    };
  }

  /** All that must hold whatever went wrong. */
  function expectOnce({ states, attempts, executions, accounted }: Outcome): void {
    expect(states).toEqual(Array(JOBS).fill('COMPLETED'));
    expect(attempts).toEqual(Array(JOBS).fill(1));
    expect(executions).toHaveLength(JOBS);
    expect(new Set(executions).size).toBe(JOBS);
    expect(accounted).toHaveLength(JOBS);
  }

  test.each(['submits, then times out', 'submits, then prints garbage'] as const)('sbatch %s: the batch is found by its token and adopted', async (fault) => {
    const seen = await run(fault);
    expectOnce(seen);
    expect(seen.submissions).toMatchObject([{ state: 'SUBMITTED', slurmJobId: seen.accounted[0]!.split('_')[0], error: null }]);
  }, 120_000);

  test('sbatch submits and hangs: the time runs out and the batch is adopted', async () => {
    const { transport } = site.cluster;
    const impatient: Transport = { ...transport, exec: (argv, options) => transport.exec(argv, { ...options, timeoutMs: 4_000 }) };
    const seen = await run('submits, then hangs', { cluster: { ...site.cluster, transport: impatient, executor: openSlurmExecutor(impatient) } });
    expectOnce(seen);
    expect(seen.submissions).toMatchObject([{ state: 'SUBMITTED', error: null }]);
  }, 120_000);

  test('the connection drops after the command was sent: the batch is adopted once the door is open again', async () => {
    const seen = await run('submits, then the connection drops', { meanwhile: async () => {
      await until('the submission to be sent', 30_000, site.door.hasSent);
      await site.door.slam();
      await site.door.reopen();
    } });
    expectOnce(seen);
    expect(seen.submissions).toMatchObject([{ state: 'SUBMITTED', error: null }]);
  }, 120_000);

  test('sbatch fails without submitting: the jobs go back to the queue and are submitted again', async () => {
    const seen = await run('fails without submitting');
    expectOnce(seen);
    expect(seen.submissions).toMatchObject([
      { state: 'ABANDONED', slurmJobId: null, error: expect.stringContaining('Resource temporarily unavailable') },
      { state: 'SUBMITTED', error: null },
    ]);
  }, 120_000);

  test('sbatch times out without submitting: only after the grace period is the batch given up and submitted again', async () => {
    const seen = await run('times out without submitting');
    expectOnce(seen);
    expect(seen.submissions).toMatchObject([{ state: 'ABANDONED', error: expect.stringContaining('no trace of it') }, { state: 'SUBMITTED' }]);
  }, 120_000);
});

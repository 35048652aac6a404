/** Submissions whose answer is lost, on a real SLURM: the fault is in the `sbatch` that is found first, or in the connection. */
import { randomBytes } from 'node:crypto';
import { mkdir, readFile, chmod } from 'node:fs/promises';
import { join } from 'node:path';
import pino from 'pino';
import { afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { submitSweep } from '../../src/actions/submit-sweep.ts';
import type { Cluster } from '../../src/cluster/executor.ts';
import { openCluster } from '../../src/cluster/open-cluster.ts';
import { openSlurmExecutor } from '../../src/cluster/slurm/executor.ts';
import type { Transport } from '../../src/cluster/transport.ts';
import { openFeed, type Feed } from '../../src/db/feed.ts';
import { connect, type Connection } from '../../src/db/connect.ts';
import { startClusterReconciler, type ClusterReconciler } from '../../src/reconcilers/reconcile-cluster.ts';
import { openDoor, type Door, type SbatchFault } from '../rig/door.ts';
import { ensureRig, rigCluster, rigUnavailableReason, slurm, type Rig } from '../rig/rig.ts';
import { until } from '../rig/processes.ts';
import { actionTest, clusterSettings, type ActionTest } from '../support/actions.ts';

const JOBS = 3;
const logger = pino({ level: 'silent' });

interface Outcome {
  states: string[];
  attempts: number[];
  /** Job ids, one for each time that a job's work really started. */
  executions: string[];
  submissions: { state: string; slurmJobId: string | null; error: string | null; answer: string | null }[];
  /** What SLURM says of every job under one of our tokens, a row for each array task. */
  accounted: string[];
}

describe.skipIf(rigUnavailableReason() !== null)('a submission whose answer is lost', () => {
  let rig: Rig;
  let door: Door;
  let test_: ActionTest;
  let connection: Connection;
  let feed: Feed;
  let cluster: Cluster;
  let reconciler: ClusterReconciler | null = null;
  let root: string;

  beforeAll(async () => { rig = await ensureRig(); }, 180_000);
  beforeEach(async () => {
    const name = `door-${randomBytes(4).toString('hex')}`;
    door = await openDoor(rig, 'alpha', name);
    root = join(rigCluster(rig, 'alpha').rootDirectory, name);
    await mkdir(root);
    await chmod(root, 0o777);
    test_ = await actionTest();
    connection = await connect(test_.db.url, { max: 4 });
    feed = await openFeed(connection, logger);
    const settings = clusterSettings('alpha', { rootDirectory: root, submitGraceSeconds: 3, pollSecondsMin: 0.3, pollSecondsMax: 1, ssh: door.ssh });
    cluster = openCluster(settings);
  }, 30_000);
  afterEach(async () => {
    await reconciler?.stop();
    await cluster.close();
    await feed.close();
    await connection.close();
    await test_.db.drop();
    await door.close();
  }, 60_000);

  /** Submits a sweep while the fault is in place and waits until every job has ended. */
  async function run(fault: SbatchFault, meanwhile: () => Promise<void> = () => Promise.resolve()): Promise<Outcome> {
    const { context, db } = test_;
    door.breakNextSbatch(fault);
    await submitSweep({ ...context, clusters: new Map([['alpha', cluster.settings]]), defaultCluster: 'alpha' }, {
      project: 'chaos', experiment: 'ambiguous', name: fault, command: ['sh', '-c', `echo "$EXPGRAPH_JOB_ID" >> ${root}/executions; sleep 1`],
      space: { seeds: { values: Array.from({ length: JOBS }, (_, seed) => seed) } }, resources: { partition: 'gpu', account: 'cds', memoryMiB: 50, cpus: 1, timeLimitMinutes: 5 },
    });
    const started = startClusterReconciler(db.database, cluster, { failureRules: [], retryPolicy: [] }, logger);
    reconciler = started;
    feed.onEvents((events) => events.forEach((event) => started.onEvent(event)));
    await meanwhile();
    await vi.waitFor(async () => {
      const { rows } = await db.pool.query<{ open: string }>("select count(*) as open from jobs where state not in ('COMPLETED', 'FAILED', 'CANCELLED', 'LOST')");
      if (rows[0]!.open !== '0') throw new Error(`${rows[0]!.open} jobs have not ended`);
    }, { timeout: 90_000, interval: 200 });
    return outcome();
  }

  async function outcome(): Promise<Outcome> {
    const { rows: jobs } = await test_.db.pool.query<{ state: string; attempt_count: number }>('select state, attempt_count from jobs order by id');
    const { rows: batches } = await test_.db.pool.query<{ token: string; state: string; slurm_job_id: string | null; error: string | null; answer: string | null }>('select * from batches order by submitted_at');
    const accounted = await slurm(rig, 'alpha', ['squeue', '-h', '-r', '-t', 'all', '--name', batches.map(({ token }) => token).join(','), '-o', '%i %T']);
    return {
      states: jobs.map(({ state }) => state), attempts: jobs.map((job) => job.attempt_count),
      executions: (await readFile(join(root, 'executions'), 'utf8')).trim().split('\n'),
      submissions: batches.map(({ state, slurm_job_id, error, answer }) => ({ state, slurmJobId: slurm_job_id, error, answer })),
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
    const { transport } = cluster;
    const impatient: Transport = { ...transport, exec: (argv, options) => transport.exec(argv, { timeoutMs: 4_000, ...options }) };
    cluster = { ...cluster, transport: impatient, executor: openSlurmExecutor(impatient) };
    const seen = await run('submits, then hangs');
    expectOnce(seen);
    expect(seen.submissions).toMatchObject([{ state: 'SUBMITTED', error: null }]);
  }, 120_000);

  test('the connection drops after the command was sent: the batch is adopted once the door is open again', async () => {
    const seen = await run('submits, then the connection drops', async () => {
      await until('the submission to be sent', 30_000, door.hasSent);
      await door.slam();
      await door.reopen();
    });
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

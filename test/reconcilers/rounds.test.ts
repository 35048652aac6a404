import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { submitSweep } from '../../src/actions/submit-sweep.ts';
import { SubmitError, type ObservationReport } from '../../src/cluster/executor.ts';
import type { Watch } from '../../src/cluster/watch/open-watch.ts';
import { eventsPath, ownerPath } from '../../src/domain/layout.ts';
import { ClusterRounds } from '../../src/reconcilers/rounds.ts';
import { smallSweep } from '../support/actions.ts';
import { fakeClusterTest, putFile, silent, type FakeCluster, type FakeClusterTest } from './fake-cluster.ts';

let at: FakeClusterTest;
let fake: FakeCluster;
let rounds: ClusterRounds;
let directory: string;
let slurmJobId: string;
/** Gives the answer of the scheduler, which keeps us waiting until then. */
let answer: (report: ObservationReport) => void;

beforeEach(async () => {
  at = await fakeClusterTest();
  fake = at.fake;
  const { database } = at.db;
  const { cluster } = fake;
  await submitSweep(at.context, smallSweep({ space: { grid: [{ key: 'n', values: [1] }] } }));
  await fake.dispatch(database);
  const { rows } = await at.db.pool.query<{ storage_path: string; slurm_job_id: string }>('select storage_path, slurm_job_id from jobs join attempts on job_id = jobs.id');
  directory = rows[0]!.storage_path;
  slurmJobId = rows[0]!.slurm_job_id;
  const live: Watch = {
    status: () => ({ state: 'LIVE', reason: null }), setJobs: () => undefined, onChange: () => undefined, onStatus: () => undefined, retry: () => undefined, close: async () => undefined, files: cluster.transport,
  };
  fake.override({ observe: () => new Promise((resolve) => { answer = resolve; }) });
  rounds = new ClusterRounds({ database, cluster, watch: live, inFlight: new Set(), onQueue: () => undefined, logger: silent, now: () => new Date(), onLook: () => undefined });
});
afterEach(async () => {
  vi.useRealTimers();
  await at.close();
});

const state = async (): Promise<unknown> => (await at.db.pool.query<{ state: string }>('select state from attempts')).rows[0]?.state;

test('what is pushed while the scheduler is asked is taken in at once, and the answer, which is older, does not undo it', async () => {
  const asked = rounds.run();
  await expect.poll(() => answer).toBeDefined();
  await putFile(ownerPath(directory, 1), `slurm ${slurmJobId}\n`);
  await putFile(eventsPath(directory), '{"note":"once"}\n');
  rounds.noteChanges([{ jobDirectory: directory, what: ['started', 'notes'] }]);
  expect(await rounds.push()).toBe(true);
  expect(await state()).toBe('RUNNING');
  const { rows: [{ token }] } = await at.db.pool.query('select token from batches');
  answer({ problems: [], strangers: [], queueCounts: null, observations: [{
    token, taskIndex: 0, slurmJobId, state: 'PENDING', reason: 'Priority', nodeList: null, exitCode: null, signal: null, estimatedStartAt: null, startedAt: null, finishedAt: null,
    elapsedSeconds: null, maxRssBytes: null, earlierRuns: [],
  }] });
  await asked;
  expect(await state()).toBe('RUNNING');
  expect((await at.db.pool.query("select 1 from events where kind = 'NOTE'")).rowCount).toBe(1);
});

test('what is pushed does not wait until the files of other jobs have been looked at; only a job that is being looked at does', async () => {
  const values = Array.from({ length: 30 }, (_, index) => index + 10);
  await submitSweep(at.context, smallSweep({ space: { grid: [{ key: 'n', values }] } }));
  await fake.dispatch(at.db.database);
  const { rows } = await at.db.pool.query<{ storage_path: string; slurm_job_id: string }>('select storage_path, slurm_job_id from jobs join attempts on job_id = jobs.id');
  fake.override({ observe: async () => ({ problems: [], strangers: [], queueCounts: [], observations: [] }) });
  await rounds.run();
  await rounds.push();
  // Some of them are looked at, and the machine is slow to list them.
  const { list } = fake.cluster.transport;
  let listed: string[] = [];
  let goOn: () => void = () => undefined;
  const slow = new Promise<void>((resolve) => { goOn = resolve; });
  fake.cluster.transport.list = async (request) => {
    if (listed.length > 0) return list.call(fake.cluster.transport, request);
    listed = request.directories;
    await slow;
    return list.call(fake.cluster.transport, request);
  };
  const looking = rounds.run();
  await expect.poll(() => listed.length).toBeGreaterThan(0);
  const busy = rows.find(({ storage_path }) => listed.includes(storage_path))!;
  const free = rows.find(({ storage_path }) => !listed.includes(storage_path))!;
  for (const row of [busy, free]) await putFile(ownerPath(row.storage_path, 1), `slurm ${row.slurm_job_id}\n`);
  rounds.noteChanges([busy, free].map((row) => ({ jobDirectory: row.storage_path, what: ['started'] })));
  expect(await rounds.push()).toBe(true);
  const running = async () => (await at.db.pool.query("select slurm_job_id from attempts where state = 'RUNNING'")).rows.map((row) => row.slurm_job_id);
  expect(await running()).toEqual([free.slurm_job_id]);
  goOn();
  await looking;
  await expect.poll(async () => {
    await rounds.push();
    return running();
  }).toHaveLength(2);
});

describe('a submission whose answer was lost, while changes are pushed', () => {
  /** Seconds from the loss to each look at the queue. */
  let looks: number[];
  let isShown: boolean;

  beforeEach(async () => {
    const startedAt = Date.now();
    vi.useFakeTimers({ toFake: ['Date'], now: startedAt });
    looks = [];
    isShown = false;
    fake.override({
      submit: async () => { throw new SubmitError('ambiguous', 'Socket timed out on send/recv operation'); },
      observe: async (attempts) => {
        looks.push((Date.now() - startedAt) / 1000);
        return {
          problems: [], strangers: [], queueCounts: [], observations: attempts.filter(({ slurmJobId }) => isShown || slurmJobId !== null).map(({ token, taskIndex }) => ({
            token, taskIndex, slurmJobId: '77', state: 'PENDING', reason: 'Priority', nodeList: null, exitCode: null, signal: null, estimatedStartAt: null, startedAt: null,
            finishedAt: null, elapsedSeconds: null, maxRssBytes: null, earlierRuns: [],
          })),
        };
      },
    });
    // As if the queue had just been looked at: the backstop is far away.
    await rounds.run();
    vi.setSystemTime(startedAt + 5_000);
    await submitSweep(at.context, smallSweep({ space: { grid: [{ key: 'n', values: [2] }] } }));
    const { database } = at.db;
    await expect(fake.dispatch(database)).rejects.toThrow('Socket timed out');
    rounds.prompt();
  });

  /** Runs both lanes as their loops would, until the queue was looked at so often. */
  async function untilLooks(count: number): Promise<void> {
    while (looks.length < count) {
      await rounds.push();
      vi.setSystemTime(Date.now() + rounds.untilNextMs());
      await rounds.run();
    }
  }
  const batches = async (): Promise<unknown[]> => (await at.db.pool.query('select state, slurm_job_id from batches order by submitted_at')).rows.slice(1);

  test('is looked for at once, and adopted', async () => {
    isShown = true;
    await untilLooks(2);
    expect(looks[1]).toBe(5);
    expect(await batches()).toEqual([{ state: 'SUBMITTED', slurm_job_id: '77' }]);
  });

  test('is looked for again soon, for it may not be shown at once', async () => {
    await untilLooks(2);
    expect(await batches()).toEqual([{ state: 'SUBMITTING', slurm_job_id: null }]);
    isShown = true;
    await untilLooks(3);
    expect(looks.slice(1)).toEqual([5, 8]);
    expect(await batches()).toEqual([{ state: 'SUBMITTED', slurm_job_id: '77' }]);
  });

  test('is given up with the look that follows its grace period, and looked for once more in case it comes late, in few looks', async () => {
    fake.cluster.settings.submitGraceSeconds = 12;
    await untilLooks(4);
    expect(await batches()).toEqual([{ state: 'ABANDONED', slurm_job_id: null }]);
    await untilLooks(5);
    // Then only the backstop is left.
    await untilLooks(6);
    expect(looks.slice(1)).toEqual([5, 8, 20, 35, 65]);
  });
});

import { afterEach, beforeEach, expect, test } from 'vitest';
import { submitSweep } from '../../src/actions/submit-sweep.ts';
import type { ObservationReport } from '../../src/cluster/executor.ts';
import type { Watch } from '../../src/cluster/watch/open-watch.ts';
import { eventsPath, ownerPath } from '../../src/domain/layout.ts';
import { dispatchQueue } from '../../src/reconcilers/dispatch.ts';
import { SubmitRoom } from '../../src/reconcilers/submit-room.ts';
import { ClusterRounds } from '../../src/reconcilers/rounds.ts';
import { actionTest, smallSweep, type ActionTest } from '../support/actions.ts';
import { fakeCluster, putFile, silent, type FakeCluster } from './fake-cluster.ts';

let at: ActionTest;
let fake: FakeCluster;
let rounds: ClusterRounds;
let directory: string;
let slurmJobId: string;
/** Gives the answer of the scheduler, which keeps us waiting until then. */
let answer: (report: ObservationReport) => void;

beforeEach(async () => {
  at = await actionTest();
  fake = await fakeCluster('greene');
  const { database } = at.db;
  const { cluster } = fake;
  at.context = { ...at.context, clusters: new Map([['greene', cluster.settings]]) };
  await submitSweep(at.context, smallSweep({ space: { grid: [{ key: 'n', values: [1] }] } }));
  await dispatchQueue({ database, cluster, room: new SubmitRoom(), inFlight: new Set(), maxArraySize: () => 1001, isStopping: () => false, logger: silent });
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
  await fake.close();
  await at.db.drop();
});

const state = async (): Promise<unknown> => (await at.db.pool.query<{ state: string }>('select state from attempts')).rows[0]?.state;

test('what is pushed while the scheduler is asked is taken in at once, and the answer, which is older, does not undo it', async () => {
  const asked = rounds.run();
  await expect.poll(() => answer, { timeout: 10_000 }).toBeDefined();
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

/** What a test of actions works with: a database of its own and two clusters that nobody contacts. */
import type { ActionContext } from '../../src/actions/action-context.ts';
import type { SubmitSweepInput } from '../../src/actions/submission.ts';
import { submitSweep } from '../../src/actions/submit-sweep.ts';
import type { Database } from '../../src/db/database.ts';
import type { ClusterSettings } from '../../src/domain/cluster-settings.ts';
import { testDatabase, type TestDatabase } from './database.ts';

export function clusterSettings(name: string, changes: Partial<ClusterSettings> = {}): ClusterSettings {
  return {
    name, kind: 'SLURM', rootDirectory: `/scratch/${name}`, defaultResources: { cpus: 2 }, maxActiveJobs: 1_000, maxCommandsPerMinute: 10_000, setupScript: null,
    pollSecondsMin: 1, pollSecondsMax: 10, watch: true, submitGraceSeconds: 30, ssh: null, ...changes,
  };
}

/** Actions on a database, with two clusters that nobody contacts. */
export function actionContext(database: Database): ActionContext {
  const clusters = new Map([clusterSettings('greene'), clusterSettings('torch')].map((settings) => [settings.name, settings]));
  return {
    database, clusters, defaultCluster: 'greene', maxArraySizeOf: () => Promise.resolve(null),
    limits: { maxJobsPerSweep: 10_000, maxConfigBytes: 2 * 1024 * 1024 }, tokenName: 'tester',
  };
}

export interface ActionTest {
  db: TestDatabase;
  context: ActionContext;
}

export async function actionTest(): Promise<ActionTest> {
  const db = await testDatabase();
  return { db, context: actionContext(db.database) };
}

/** A sweep over learning rates and seeds: 3 x 2 jobs. */
export function smallSweep(changes: Partial<SubmitSweepInput> = {}): SubmitSweepInput {
  return {
    project: 'vision', experiment: 'baseline', name: 'coarse', command: ['python', 'train.py', '{overrides}'],
    space: { base: { model: { depth: 4 } }, grid: [{ key: 'optim.lr', values: [0.1, 0.01, 0.001] }], seeds: { values: [1, 2] } }, ...changes,
  };
}

/** Submits a sweep of that many jobs, and answers a function that gives one after the other. */
export async function freshJobs({ context }: Pick<ActionTest, 'context'>, count: number): Promise<() => string> {
  const { jobs } = await submitSweep(context, smallSweep({ space: { grid: [{ key: 'n', values: Array.from({ length: count }, (_, index) => index) }] } }));
  const jobIds = jobs.map((job) => job.jobId ?? '');
  return () => {
    const id = jobIds.pop();
    if (id === undefined) throw new Error('no job is left');
    return id;
  };
}

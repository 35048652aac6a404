/** Checkpoints on disk and in the database, requests on them, and the reconciler that carries those out. */
import { mkdir, readdir, utimes, writeFile } from 'node:fs/promises';
import { eq } from 'drizzle-orm';
import { requestCheckpoints, type CheckpointRequestInput } from '../../src/actions/request-checkpoints.ts';
import * as tables from '../../src/db/tables/index.ts';
import { CheckpointWork } from '../../src/reconcilers/checkpoint-work.ts';
import { seedExperiment, seedJobs, type SeedJob } from '../graphql/fixture.ts';
import { fakeClusterTest, silent, type FakeCluster, type FakeClusterTest } from './fake-cluster.ts';

export const content = 'weights '.repeat(10_000);
export const writtenAt = new Date('2026-01-02T03:04:05.500Z');

interface Seeded {
  jobId: string;
  directory: string;
  /** Of the checkpoints, in the order of their steps. */
  ids: string[];
}

/** A database, a cluster and all that a test does with them. */
export class CheckpointTest {
  /** How far the clock of the reconciler is ahead. */
  clockSeconds = 0;
  readonly stopping = new AbortController();
  readonly work: CheckpointWork;

  readonly fake: FakeCluster;

  private constructor(readonly at: FakeClusterTest) {
    this.fake = at.fake;
    const now = () => new Date(Date.now() + this.clockSeconds * 1000);
    this.work = new CheckpointWork({ database: at.db.database, cluster: at.fake.cluster, logger: silent, now, stopped: this.stopping.signal });
  }

  static async open(): Promise<CheckpointTest> {
    return new CheckpointTest(await fakeClusterTest());
  }

  close(): Promise<void> {
    return this.at.close();
  }

  /** A job with checkpoints of these steps on disk; its loss is least at step 2. */
  async seed(steps: number[], job: SeedJob = {}): Promise<Seeded> {
    const directory = `${this.fake.cluster.settings.rootDirectory}/vision/base/${crypto.randomUUID()}`;
    await mkdir(`${directory}/checkpoints`, { recursive: true });
    const experimentId = await seedExperiment(this.at.db, { objectiveMetric: 'loss', objectiveGoal: 'MIN' });
    for (const step of steps) {
      await writeFile(`${directory}/checkpoints/step=${step}.ckpt`, content);
      await utimes(`${directory}/checkpoints/step=${step}.ckpt`, writtenAt, writtenAt);
    }
    const [jobId = ''] = await seedJobs(this.at.db, experimentId, [{
      cluster: 'greene', state: 'COMPLETED', storagePath: directory, attempts: [{}], metrics: { loss: steps.map((step) => [step, step === 2 ? 0.1 : step]) },
      checkpoints: steps.map((step) => ({ path: `${directory}/checkpoints/step=${step}.ckpt`, step, sizeBytes: content.length, writtenAt })), ...job,
    }]);
    const rows = await this.at.db.database.select().from(tables.checkpoints).where(eq(tables.checkpoints.jobId, jobId)).orderBy(tables.checkpoints.step);
    return { jobId, directory, ids: rows.map(({ id }) => id) };
  }

  ask(ids: string[], action: CheckpointRequestInput['action'] = 'ARCHIVE', more: Partial<CheckpointRequestInput> = {}) {
    return requestCheckpoints(this.at.context, { action, ids, ...more });
  }

  checkpoints() {
    return this.at.db.database.select().from(tables.checkpoints).orderBy(tables.checkpoints.step);
  }

  items() {
    return this.at.db.database.select().from(tables.checkpointRequestItems).orderBy(tables.checkpointRequestItems.changedAt);
  }

  runs() {
    return this.at.db.database.select().from(tables.checkpointRuns).orderBy(tables.checkpointRuns.submittedAt);
  }

  async files({ directory }: Seeded): Promise<string[]> {
    return (await readdir(`${directory}/checkpoints`)).filter((name) => name !== '.expgraph-lock').sort();
  }
}

/** The reconcilers of one cluster of the rig, through a door of their own and over a database of their own. */
import { randomBytes } from 'node:crypto';
import { chmod, mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import pino from 'pino';
import { vi } from 'vitest';
import { submitSweep } from '../../src/actions/submit-sweep.ts';
import type { Cluster } from '../../src/cluster/executor.ts';
import { openCluster } from '../../src/cluster/open-cluster.ts';
import { connect } from '../../src/db/connect.ts';
import { openFeed } from '../../src/db/feed.ts';
import { startClusterReconciler, type ClusterReconciler } from '../../src/reconcilers/reconcile-cluster.ts';
import { openDoor, type Door } from '../rig/door.ts';
import { rigCluster, slurm, type Rig } from '../rig/rig.ts';
import { actionTest, clusterSettings, type ActionTest } from '../support/actions.ts';

const logger = pino({ level: 'silent' });

export interface AttemptSeen {
  number: number;
  restart: number;
  state: string;
  reason: string | null;
  slurmJobId: string | null;
  exitCode: number | null;
}

export interface RigSite {
  cluster: Cluster;
  door: Door;
  db: ActionTest['db'];
  root: string;
  /** Submits jobs that run the shell commands; `executions` tells which of them really started. */
  submit(name: string, commands: string, jobCount: number, options?: { sbatchOptions?: Record<string, string>; timeLimitMinutes?: number; account?: string }): Promise<string[]>;
  /** Starts the loops, over another cluster object if one is given. */
  start(cluster?: Cluster): void;
  /** Ends the loops, as when the server is stopped. */
  stop(): Promise<void>;
  untilEnded(deadlineMs?: number): Promise<void>;
  attemptsOf(jobId: string): Promise<AttemptSeen[]>;
  /** `job attempt`, a line for each time that work really started. */
  executions(): Promise<string[]>;
  slurm(...argv: string[]): Promise<string>;
  close(): Promise<void>;
}

export async function openRigSite(rig: Rig, name: string): Promise<RigSite> {
  const id = `door-${randomBytes(4).toString('hex')}`;
  const door = await openDoor(rig, name, id);
  const root = join(rigCluster(rig, name).rootDirectory, id);
  await mkdir(root);
  await chmod(root, 0o777);
  const { db, context } = await actionTest();
  const connection = await connect(db.url, { max: 4 });
  const feed = await openFeed(connection, logger);
  const settings = clusterSettings(name, { rootDirectory: root, submitGraceSeconds: 3, pollSecondsMin: 0.3, pollSecondsMax: 1, ssh: door.ssh });
  const cluster = openCluster(settings);
  let reconciler: ClusterReconciler | null = null;
  return {
    cluster, door, db, root,
    async submit(sweep, commands, jobCount, { sbatchOptions = {}, timeLimitMinutes = 5, account = 'cds' } = {}) {
      const { jobs } = await submitSweep({ ...context, clusters: new Map([[name, settings]]), defaultCluster: name }, {
        project: 'chaos', experiment: 'rig', name: sweep, command: ['sh', '-c', `echo "$EXPGRAPH_JOB_ID $EXPGRAPH_ATTEMPT" >> ${root}/executions; ${commands}`],
        space: { base: { sweep }, seeds: { values: Array.from({ length: jobCount }, (_, seed) => seed) } },
        resources: { partition: 'gpu', account, memoryMiB: 50, cpus: 1, timeLimitMinutes, sbatchOptions },
      });
      return jobs.map(({ jobId }) => jobId!);
    },
    start(instead = cluster) {
      const started = startClusterReconciler(db.database, instead, { failureRules: [], retryPolicy: [] }, logger);
      reconciler = started;
      feed.onEvents((events) => events.forEach((event) => started.onEvent(event)));
    },
    async stop() {
      await reconciler?.stop();
      reconciler = null;
    },
    async untilEnded(deadlineMs = 90_000) {
      await vi.waitFor(async () => {
        const { rows } = await db.pool.query<{ state: string }>("select state from jobs where state not in ('COMPLETED', 'FAILED', 'CANCELLED', 'LOST')");
        if (rows.length > 0) throw new Error(`jobs have not ended: ${rows.map(({ state }) => state).join(' ')}`);
      }, { timeout: deadlineMs, interval: 200 });
    },
    async attemptsOf(jobId) {
      const { rows } = await db.pool.query<AttemptSeen>(
        'select number, restart, state, reason, slurm_job_id as "slurmJobId", exit_code as "exitCode" from attempts where job_id = $1 order by number', [jobId]);
      return rows;
    },
    executions: async () => (await readFile(join(root, 'executions'), 'utf8')).trim().split('\n'),
    slurm: (...argv) => slurm(rig, name, argv),
    async close() {
      await reconciler?.stop();
      await cluster.close();
      await feed.close();
      await connection.close();
      await db.drop();
      await door.close();
    },
  };
}

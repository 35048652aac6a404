/** A cluster whose scheduler says what a test tells it to, with real files in a temporary folder. */
import { mkdtemp, mkdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import pino from 'pino';
import { Breaker } from '../../src/cluster/breaker.ts';
import { CommandBudget } from '../../src/cluster/command-budget.ts';
import type { Cluster, Executor, Observation } from '../../src/cluster/executor.ts';
import { openLocalTransport } from '../../src/cluster/transport/local.ts';
import type { Database } from '../../src/db/database.ts';
import { readTrackedAttempts } from '../../src/db/read/tracked-attempts.ts';
import { dispatchQueue, type Dispatched } from '../../src/reconcilers/dispatch.ts';
import { newRoundMemory, observeCluster, type Observed } from '../../src/reconcilers/observe.ts';
import { SubmitRoom } from '../../src/reconcilers/submit-room.ts';
import { Turns } from '../../src/reconcilers/turns.ts';
import { actionTest, clusterSettings, type ActionTest } from '../support/actions.ts';

export const silent = pino({ level: 'silent' });
/** SLURM's default. */
const MAX_ARRAY_SIZE = 1001;

export interface FakeCluster {
  cluster: Cluster;
  /** What the scheduler says from now on, by array index of whatever is asked about; others are not mentioned. */
  says: Map<number, Partial<Observation>>;
  /** Replaces a method of the executor. */
  override(methods: Partial<Executor>): void;
  /** Hands over what is queued. */
  dispatch(database: Database): Promise<Dispatched>;
  /** One round as the watch loop runs it, some seconds after the first. */
  observe(database: Database, atSeconds: number): Promise<Observed>;
  close(): Promise<void>;
}

/** A database and actions whose only cluster is a fake one, called `greene`. */
export interface FakeClusterTest extends ActionTest {
  fake: FakeCluster;
  close(): Promise<void>;
}

export async function fakeClusterTest(): Promise<FakeClusterTest> {
  const { db, context } = await actionTest();
  const fake = await fakeCluster('greene');
  return {
    db, fake, context: { ...context, clusters: new Map([['greene', fake.cluster.settings]]) },
    close: async () => {
      await fake.close();
      await db.drop();
    },
  };
}

async function fakeCluster(name: string): Promise<FakeCluster> {
  const root = await mkdtemp(join(tmpdir(), 'expgraph-fake-'));
  const transport = openLocalTransport();
  const says = new Map<number, Partial<Observation>>();
  let submissions = 0;
  const executor: Executor = {
    submit: async (batch) => {
      const id = String((submissions += 1) + 1000);
      return { slurmJobId: id, taskSlurmJobIds: batch.tasks.map((_, index) => (batch.tasks.length === 1 ? id : `${id}_${index}`)), answer: id };
    },
    observe: async (attempts) => ({
      problems: [], strangers: [], queueCounts: [],
      observations: attempts.flatMap(({ token, taskIndex, slurmJobId }) => {
        const said = says.get(taskIndex);
        return said === undefined ? [] : [{ ...nothingKnown, token, taskIndex, slurmJobId: slurmJobId ?? '1', ...said }];
      }),
    }),
    cancel: async () => undefined,
    cancelWaiting: async () => undefined,
    setHeld: async () => undefined,
    findByName: async () => null,
    readScript: async () => ({ problem: 'there is none' }),
    describe: async () => ({ partitions: [], pendingJobCount: 0, runningJobCount: 0, maxArraySize: MAX_ARRAY_SIZE, maxJobCount: null, schedulerVersion: null, hasAccounting: true, jobsAhead: new Map() }),
    limits: async () => null,
  };
  const cluster: Cluster = {
    settings: clusterSettings(name, { rootDirectory: root }), executor, transport, commandCounts: new Map(), breaker: new Breaker(), budget: new CommandBudget(1_000),
    close: () => transport.close(),
  };
  const memory = newRoundMemory();
  const start = Date.now();
  return {
    cluster, says,
    override: (methods) => { Object.assign(executor, methods); },
    dispatch: (database) => dispatchQueue({
      database, cluster, room: new SubmitRoom(), inFlight: new Set(), maxArraySize: () => MAX_ARRAY_SIZE, isStopping: () => false, logger: silent,
    }),
    observe: async (database, atSeconds) => {
      const now = () => new Date(start + atSeconds * 1000);
      return observeCluster(
        { database, cluster, files: transport, inFlight: new Set(), memory, turns: new Turns(), onQueue: () => undefined, logger: silent, now }, await readTrackedAttempts(database, name), 'all');
    },
    close: async () => {
      await transport.close();
      await rm(root, { recursive: true, force: true });
    },
  };
}

const nothingKnown: Omit<Observation, 'token' | 'taskIndex' | 'slurmJobId'> = {
  state: 'RUNNING', reason: null, nodeList: null, exitCode: null, signal: null, estimatedStartAt: null, startedAt: null, finishedAt: null, elapsedSeconds: null, maxRssBytes: null, earlierRuns: [],
};

export async function putFile(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, text);
}

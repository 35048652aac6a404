/** A database with experiments in it, and operations run against the real schema as the server runs them. */
import { execute, parse, validate, type ExecutionResult } from 'graphql';
import { v7 } from 'uuid';
import type { ActionContext } from '../../src/actions/action-context.ts';
import type { Feed } from '../../src/db/feed.ts';
import { JobTables, type JobTableLimits } from '../../src/db/read/job-tables.ts';
import * as tables from '../../src/db/tables/index.ts';
import type { ClusterSettings } from '../../src/domain/cluster-settings.ts';
import type { JsonObject } from '../../src/domain/job-spec.ts';
import type { JobState } from '../../src/domain/states.ts';
import { buildSubgraph } from '../../src/graphql/build-schema.ts';
import { createGraphqlContext, type GraphqlContext, type Viewer } from '../../src/graphql/context.ts';
import { formatGraphqlError } from '../../src/graphql/errors.ts';
import { testDatabase, type TestDatabase } from '../support/database.ts';

export const schema = buildSubgraph();
export const ADMIN: Viewer = { tokenName: 'admin', scopes: ['read', 'write'] };

export const HPC: ClusterSettings = {
  name: 'hpc', kind: 'SLURM', rootDirectory: '/scratch/me', defaultResources: {}, maxActiveJobs: 10, maxCommandsPerMinute: 60, setupScript: null,
  pollSecondsMin: 1, pollSecondsMax: 10, watch: true, submitGraceSeconds: 10,
  ssh: {
    host: 'login.example.org', port: 2222, user: 'me', identityFile: null, agentSocket: null, knownHostsFiles: [],
    jumps: [], connectTimeoutSeconds: 10, maxChannels: 8,
  },
};
const LOCAL: ClusterSettings = { ...HPC, name: 'local', kind: 'LOCAL', rootDirectory: '/data/jobs', ssh: null };

export interface Fixture {
  db: TestDatabase;
  context(): GraphqlContext;
  /** Runs an operation; throws when it does not validate. */
  run<Data = any>(query: string, variables?: Record<string, unknown>): Promise<ExecutionResult & { data: Data }>;
  /** The same, and how many SQL statements it took. */
  counted(query: string, variables?: Record<string, unknown>): Promise<{ result: ExecutionResult & { data: any }; statements: number }>;
  close(): Promise<void>;
}

/** A fresh database, and a schema over it. @param limits from which size on experiments are held in memory; the usual ones when left out */
export async function openFixture(feed?: (db: TestDatabase) => Promise<Feed>, limits: Partial<JobTableLimits> = {}): Promise<Fixture> {
  const db = await testDatabase();
  const opened = await feed?.(db);
  const actions: ActionContext = {
    database: db.database, clusters: new Map([['hpc', HPC], ['local', LOCAL]]), defaultCluster: 'local',
    maxArraySizeOf: async () => null, limits: { maxJobsPerSweep: 10_000, maxConfigBytes: 1_000_000 }, tokenName: ADMIN.tokenName,
  };
  const noFeed = { subscribe: () => { throw new Error('this fixture has no feed'); } };
  const jobTables = new JobTables(db.database, limits);
  const context = () => createGraphqlContext({ database: db.database, tables: jobTables, feed: opened ?? noFeed, viewer: ADMIN, actions, failureRules: [] });
  const run: Fixture['run'] = async (query, variables) => {
    const document = parse(query);
    const faults = validate(schema, document);
    if (faults.length > 0) throw new Error(faults.map((fault) => fault.message).join('\n'));
    return await execute({ schema, document, contextValue: context(), variableValues: variables ?? null }) as never;
  };
  return {
    db, context, run,
    async counted(query, variables) {
      let statements = 0;
      const original = db.pool.query.bind(db.pool);
      db.pool.query = ((...args: Parameters<typeof original>) => {
        statements += 1;
        return original(...args);
      }) as never;
      try {
        return { result: await run(query, variables), statements };
      } finally {
        db.pool.query = original as never;
      }
    },
    async close() {
      await opened?.close();
      await db.drop();
    },
  };
}

/** The errors of an answer as a client would see them. */
export function shownErrors(result: ExecutionResult): { message: string; code: unknown }[] {
  return (result.errors ?? []).map((error) => formatGraphqlError(error.toJSON(), error, schema, () => undefined))
    .map(({ message, extensions }) => ({ message, code: extensions?.['code'] }));
}

export interface SeedJob {
  name?: string;
  config?: JsonObject;
  tags?: string[];
  state?: JobState;
  priority?: number;
  cluster?: string;
  storagePath?: string;
  sweepId?: string | null;
  retryOf?: string;
  notBefore?: Date;
  createdAt?: Date;
  startedAt?: Date | null;
  finishedAt?: Date | null;
  /** Attempts in this order of states; one batch each. */
  attempts?: Partial<typeof tables.attempts.$inferInsert>[];
  /** Points of each metric: [step, value] or [step, value, attempt]. */
  metrics?: Record<string, [step: number, value: number, attempt?: number][]>;
  checkpoints?: Partial<typeof tables.checkpoints.$inferInsert>[];
  result?: Partial<typeof tables.results.$inferInsert>;
}

/** Where to. */
type Seeded = Pick<TestDatabase, 'database'>;

const EPOCH = Date.UTC(2026, 0, 1);

export async function seedExperiment(db: Seeded, values: Partial<typeof tables.experiments.$inferInsert> = {}): Promise<string> {
  const id = v7();
  await db.database.insert(tables.experiments).values({ id, project: 'vision', name: `exp-${id}`, ...values });
  return id;
}

export async function seedSweep(db: Seeded, experimentId: string, jobCount = 1): Promise<string> {
  const id = v7();
  await db.database.insert(tables.sweeps).values({ id, experimentId, name: 'coarse', space: { grid: [] }, strategy: 'GRID', jobCount });
  return id;
}

/** Inserts jobs with all that hangs on them; answers their ids in order. */
export async function seedJobs(db: Seeded, experimentId: string, jobs: SeedJob[]): Promise<string[]> {
  const ids: string[] = [];
  for (const job of jobs) ids.push(await seedJob(db, experimentId, job));
  return ids;
}

async function seedJob({ database }: Seeded, experimentId: string, job: SeedJob): Promise<string> {
  const id = v7();
  const { attempts = [], metrics = {}, checkpoints = [], result, ...columns } = job;
  await database.insert(tables.jobs).values({
    id, experimentId, name: 'job', config: {}, fingerprint: id, priority: 100, state: 'QUEUED', cluster: 'hpc', command: ['true'],
    environment: {}, storagePath: `/scratch/me/${id}`, submittedBy: 'admin', attemptCount: attempts.length,
    resources: {
      gpus: 0, gpuType: null, cpus: 1, memoryMiB: null, timeLimitMinutes: null, nodes: 1, partition: null, account: null, qos: null, sbatchOptions: {},
    },
    ...columns,
  });
  for (const [index, attempt] of attempts.entries()) {
    const batchId = v7();
    await database.insert(tables.batches).values({
      id: batchId, cluster: 'hpc', token: `eg-${batchId}`, state: 'SUBMITTED', script: `#!/bin/bash\n# ${batchId}`, taskCount: 1, answer: '123',
    });
    await database.insert(tables.attempts).values({
      jobId: id, number: index + 1, id: v7(), cluster: 'hpc', batchId, taskIndex: 0, state: 'COMPLETED', ...attempt,
    });
  }
  for (const [index, [key, points]] of Object.entries(metrics).entries()) await seedSeries(database, id, index + 1, key, points);
  for (const [index, checkpoint] of checkpoints.entries()) {
    await database.insert(tables.checkpoints).values({
      jobId: id, id: v7(), path: `/scratch/me/${id}/checkpoints/${index}.ckpt`, attemptNumber: 1, state: 'COMPLETE', sizeBytes: 10, fileCount: 1,
      writtenAt: new Date(EPOCH + index * 1000), ...checkpoint,
    });
  }
  if (result) await database.insert(tables.results).values({ jobId: id, metrics: {}, artifacts: [], finishedAt: new Date(EPOCH), ...result });
  return id;
}

/** A series with the summary that the recording actions would keep. */
async function seedSeries(database: TestDatabase['database'], jobId: string, seriesNumber: number, key: string, points: [number, number, number?][]): Promise<void> {
  const timeOf = (step: number) => new Date(EPOCH + (step % 1e6) * 1000);
  const finite = points.filter(([, value]) => Number.isFinite(value));
  const last = finite.reduce<[number, number] | null>((best, [step, value]) => (best === null || step >= best[0] ? [step, value] : best), null);
  const least = finite.reduce<[number, number] | null>((best, [step, value]) => (best === null || value < best[1] ? [step, value] : best), null);
  const greatest = finite.reduce<[number, number] | null>((best, [step, value]) => (best === null || value > best[1] ? [step, value] : best), null);
  await database.insert(tables.metricSeries).values({
    jobId, key, seriesNumber, pointCount: points.length,
    ...(last && { lastStep: last[0], lastValue: last[1], lastTime: timeOf(last[0]) }),
    ...(least && { minStep: least[0], minValue: least[1], minTime: timeOf(least[0]) }),
    ...(greatest && { maxStep: greatest[0], maxValue: greatest[1], maxTime: timeOf(greatest[0]) }),
  });
  for (let start = 0; start < points.length; start += 5000) {
    await database.insert(tables.metricPoints).values(points.slice(start, start + 5000).map(([step, value, attemptNumber = 1]) => ({
      jobId, seriesNumber, step, attemptNumber, value, time: timeOf(step),
    })));
  }
}

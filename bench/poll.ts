/**
 * What a tick of the poll costs while SLURM holds many jobs of ours: CPU time of this process, SQL statements, SLURM commands; when nothing has
 * changed, and when 1 % has. `--jobs N` (default 10,000) is the larger of two sizes, the smaller a tenth of it. The reconciler's own rounds run here, over
 * SSH, on the test rig; the jobs are real and may not begin for an hour. Beside them in the same run, a poller as one writes it at first (squeue
 * for every 100 jobs, an UPDATE for each job), and what the program of the watch takes on the login node.
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import pino from 'pino';
import { submitSweep } from '../src/actions/submit-sweep.ts';
import type { Cluster } from '../src/cluster/executor.ts';
import { openCluster } from '../src/cluster/open-cluster.ts';
import { loadConfig } from '../src/config.ts';
import { connect, type Connection } from '../src/db/connect.ts';
import { startEmbeddedPostgres } from '../src/db/embedded-postgres.ts';
import { migrateDatabase } from '../src/db/migrate.ts';
import type { ClusterSettings } from '../src/domain/cluster-settings.ts';
import { dispatchQueue } from '../src/reconcilers/dispatch.ts';
import { SubmitRoom } from '../src/reconcilers/submit-room.ts';
import { ClusterRounds } from '../src/reconcilers/rounds.ts';
import { ensureRig, rigCluster, slurm, slurmAnswer, type Rig } from '../test/rig/rig.ts';
import { median, rounded, type BenchResult } from './result.ts';
import { withFolder } from './server.ts';
import { measureWatchProgram, type WatchCost } from './watch-cost.ts';

const CLUSTER = 'alpha';
const TICKS = 7;
const CHANGED_SHARE = 0.01;
/** How far above ten times the CPU of a tenth of the jobs it may be: two measurements differ by as much. */
const TOLERANCE = 1.2;
const MAX_JOBS = 10_000;
/** The program of the watch may take this much of a core. */
const MAX_WATCH_CPU_MS_PER_SECOND = 40;
/** What the program itself allows, and a slice more. */
const MAX_STATS_PER_SECOND = 11_000;

interface Cost {
  cpuMs: number;
  wallMs: number;
  statements: number;
  commands: number;
}

interface Measured {
  jobs: number;
  unchanged: Cost;
  /** 1 % of the jobs changed. */
  changed: Cost;
  naive: Cost;
  watchProgram: WatchCost;
}

/** Everything that is measured with, around one cluster of the rig. */
interface Bench {
  rig: Rig;
  cluster: Cluster;
  connection: Connection;
  statements: () => number;
  slurmJobIds: () => Promise<string[]>;
}

/** Counts every statement that reaches the server, BEGIN and COMMIT among them. */
function countStatements({ pool }: Connection): () => number {
  const counted = new WeakSet();
  let count = 0;
  pool.on('acquire', (client) => {
    if (counted.has(client)) return;
    counted.add(client);
    const query = client.query.bind(client) as (...args: unknown[]) => unknown;
    client.query = ((...args: unknown[]) => {
      count += 1;
      return query(...args);
    }) as typeof client.query;
  });
  return () => count;
}

async function costOf({ cluster, statements }: Bench, run: () => Promise<void>): Promise<Cost> {
  const commands = (): number => [...cluster.commandCounts.values()].reduce((sum, count) => sum + count, 0);
  const before = { statements: statements(), commands: commands(), wall: performance.now(), cpu: process.cpuUsage() };
  await run();
  const { user, system } = process.cpuUsage(before.cpu);
  return { cpuMs: (user + system) / 1000, wallMs: performance.now() - before.wall, statements: statements() - before.statements, commands: commands() - before.commands };
}

/** The median of each figure. */
async function typicalCost(bench: Bench, ticks: number, run: (tick: number) => Promise<() => Promise<void>>): Promise<Cost> {
  const costs: Cost[] = [];
  for (let tick = 0; tick < ticks; tick += 1) costs.push(await costOf(bench, await run(tick)));
  const typical = (figure: keyof Cost): number => rounded(median(costs.map((cost) => cost[figure])));
  return { cpuMs: typical('cpuMs'), wallMs: typical('wallMs'), statements: typical('statements'), commands: typical('commands') };
}

async function submitTo(bench: Bench, settings: ClusterSettings, have: number, jobCount: number): Promise<void> {
  const { connection: { database }, cluster } = bench;
  const { jobs } = await submitSweep({
    database, clusters: new Map([[CLUSTER, settings]]), defaultCluster: CLUSTER, maxArraySizeOf: async () => null, tokenName: 'bench',
    limits: { maxJobsPerSweep: MAX_JOBS, maxConfigBytes: 10_000 },
  }, {
    project: 'bench', experiment: 'poll', name: `up to ${jobCount}`, command: ['true', '{overrides}'],
    space: { grid: [{ key: 'index', values: Array.from({ length: jobCount - have }, (_, index) => have + index) }] },
    resources: { timeLimitMinutes: 1, sbatchOptions: { begin: 'now+60minutes' } },
  });
  const { maxArraySize } = await cluster.executor.describe();
  const { count: handedOver } = await dispatchQueue({ database, cluster, room: new SubmitRoom(), inFlight: new Set(), maxArraySize: () => maxArraySize, isStopping: () => false, logger: silent });
  if (jobs.length !== jobCount - have || handedOver !== jobs.length) throw new Error(`${handedOver} of ${jobCount - have} jobs were taken by SLURM`);
}

const silent = pino({ level: 'silent' });

function ticking({ connection: { database }, cluster }: Bench): () => Promise<void> {
  const rounds = new ClusterRounds({ database, cluster, watch: null, inFlight: new Set(), onQueue: () => undefined, logger: silent, now: () => new Date(), onLook: () => undefined });
  return async () => {
    rounds.prompt();
    await rounds.run();
  };
}

/** Holds some jobs, or lets them go: by hand, so that their reason changes and it is for us to find out. */
async function changeSome({ rig }: Bench, ids: string[], tick: number): Promise<void> {
  await slurm(rig, CLUSTER, ['scontrol', tick % 2 === 0 ? 'hold' : 'release', ...ids]);
}

async function naiveTick({ cluster, connection: { pool } }: Bench, ids: string[]): Promise<void> {
  for (let start = 0; start < ids.length; start += 100) {
    const argv = ['squeue', '-h', '-r', '-o', '%i|%T|%r', '-j', ids.slice(start, start + 100).join(',')];
    // Counted as the commands of the executor are.
    (cluster.commandCounts as Map<string, number>).set('squeue', (cluster.commandCounts.get('squeue') ?? 0) + 1);
    const { stdout } = await cluster.transport.exec(argv);
    for (const line of stdout.toString().trim().split('\n')) {
      const [id, state, reason] = line.split('|');
      await pool.query('update naive set state = $2, reason = $3 where slurm_job_id = $1', [id, state, reason]);
    }
  }
}

async function measureSize(bench: Bench, jobCount: number): Promise<Measured> {
  const tick = ticking(bench);
  const ids = await bench.slurmJobIds();
  if (ids.length !== jobCount) throw new Error(`${ids.length} of ${jobCount} jobs are on the cluster`);
  // The first ones take in what the scheduler said of new jobs, and warm the code up.
  for (let warmUp = 0; warmUp < 3; warmUp += 1) await tick();
  const unchanged = await typicalCost(bench, TICKS, async () => tick);
  const some = ids.filter((_, index) => index % Math.round(1 / CHANGED_SHARE) === 0);
  const changed = await typicalCost(bench, TICKS + 1, async (count) => {
    await changeSome(bench, some, count);
    return tick;
  });
  await bench.connection.pool.query('drop table if exists naive');
  await bench.connection.pool.query('create table naive as select slurm_job_id, state, reason from attempts');
  await bench.connection.pool.query('create unique index on naive (slurm_job_id)');
  const naive = await typicalCost(bench, 1, async () => () => naiveTick(bench, ids));
  const watchProgram = await measureWatchProgram(jobCount);
  return { jobs: jobCount, unchanged, changed, naive, watchProgram };
}

function show({ jobs, watchProgram, ...costs }: Measured): void {
  for (const [what, { cpuMs, wallMs, statements, commands }] of Object.entries(costs)) {
    console.log(`${String(jobs).padStart(6)} jobs, ${what.padEnd(9)}: CPU ${cpuMs} ms, ${wallMs} ms in all, ${statements} SQL statements, ${commands} SLURM commands`);
  }
  console.log(`${String(jobs).padStart(6)} jobs, program of the watch: ${JSON.stringify(watchProgram)}`);
}

function judge(few: Measured, many: Measured): BenchResult {
  const isSame = (figure: 'statements' | 'commands'): boolean => few.unchanged[figure] === many.unchanged[figure];
  const ratio = rounded(many.unchanged.cpuMs / few.unchanged.cpuMs);
  const isLinear = ratio <= (many.jobs / few.jobs) * TOLERANCE;
  const isWatchCheap = [few, many].every(({ watchProgram: { cpuMsPerSecond, statsPerSecond } }) => cpuMsPerSecond <= MAX_WATCH_CPU_MS_PER_SECOND && statsPerSecond <= MAX_STATS_PER_SECOND);
  return {
    goal: 'as many SLURM commands and SQL statements a tick for all as for a tenth of the jobs when nothing changed, CPU at most linear, '
      + `the program of the watch at most ${MAX_WATCH_CPU_MS_PER_SECOND} ms and ${MAX_STATS_PER_SECOND} stats a second`,
    ok: isSame('commands') && isSame('statements') && few.changed.commands === many.changed.commands && isLinear && isWatchCheap,
    cpuRatio: ratio, few, many,
  };
}

async function run(rig: Rig, connection: Connection, jobCount: number): Promise<BenchResult> {
  await migrateDatabase(connection.pool);
  const configured = loadConfig({}, { HOME: process.env['HOME'], EXPGRAPH_CONFIG: rig.configPath }).clusters.get(CLUSTER)!;
  const settings: ClusterSettings = { ...configured, rootDirectory: join(rigCluster(rig, CLUSTER).rootDirectory, `poll-${process.pid}`), maxActiveJobs: MAX_JOBS, maxCommandsPerMinute: 100_000 };
  const cluster = openCluster(settings);
  const slurmJobIds = async (): Promise<string[]> => (
    await connection.pool.query<{ id: string }>('select slurm_job_id as id from attempts where slurm_job_id is not null order by job_id')).rows.map(({ id }) => id);
  const bench: Bench = { rig, cluster, connection, statements: countStatements(connection), slurmJobIds };
  const measured: Measured[] = [];
  try {
    for (const size of [Math.round(jobCount / 10), jobCount]) {
      await submitTo(bench, settings, measured.at(-1)?.jobs ?? 0, size);
      measured.push(await measureSize(bench, size));
      show(measured.at(-1)!);
    }
    return judge(measured[0]!, measured[1]!);
  } finally {
    const arrays = [...new Set((await slurmJobIds()).map((id) => id.split('_')[0]!))];
    if (arrays.length > 0) await slurmAnswer(rig, CLUSTER, ['scancel', '--quiet', ...arrays]);
    await cluster.close();
  }
}

export async function benchPoll(): Promise<BenchResult> {
  const { values } = parseArgs({ args: process.argv.slice(3), options: { jobs: { type: 'string', default: String(MAX_JOBS) } } });
  const jobCount = Number(values.jobs);
  if (!Number.isInteger(jobCount) || jobCount < 100 || jobCount > MAX_JOBS) throw new Error(`--jobs is a whole number from 100 to ${MAX_JOBS}`);
  const rig = await ensureRig((line) => console.log(line));
  return withFolder(async (folder) => {
    const postgres = await startEmbeddedPostgres({ dataDirectory: join(folder, 'postgres') });
    try {
      const connection = await connect(postgres.url, { max: 4 });
      try {
        return await run(rig, connection, jobCount);
      } finally {
        await connection.close();
      }
    } finally {
      await postgres.stop();
    }
  });
}

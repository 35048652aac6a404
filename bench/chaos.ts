/**
 * `npm run bench -- chaos --rounds 30`: everything that can go wrong, on a rig of its own with a small disk, over a PostgreSQL of
 * its own. The server dies at every named crash point once and at random moments in the rounds that are left.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { connect } from '../src/db/connect.ts';
import { startEmbeddedPostgres } from '../src/db/embedded-postgres.ts';
import { migrateDatabase } from '../src/db/migrate.ts';
import { runChaos, type Fault } from '../test/chaos/chaos.ts';
import {
  breakSbatch, crashAt, fillDisk, killServer, mountSmallDisk, PASSED_POINTS, restartPostgres, restartSshd, stopAccounting, stopController,
} from '../test/chaos/faults.ts';
import { SBATCH_FAULTS, type SbatchFault } from '../test/rig/door.ts';
import { ensureRig, takeDownRig } from '../test/rig/rig.ts';
import type { BenchResult } from './result.ts';
import { withFolder } from './server.ts';

const DEFAULT_ROUNDS = 30;
/** Seconds that slurmctld is away, in a run of all rounds and in a shorter one. */
const CONTROLLER_AWAY = { full: 60, short: 15 };
/** Enough for the files of all jobs, and soon full. */
const DISK_MEBIBYTES = 32;

export async function benchChaos(): Promise<BenchResult> {
  const { values } = parseArgs({ args: process.argv.slice(3), options: { rounds: { type: 'string', default: String(DEFAULT_ROUNDS) } } });
  const rounds = Number(values.rounds);
  process.env['EXPGRAPH_RIG_DIR'] ??= `/tmp/expgraph-rig-chaos-${process.pid}`;
  const rig = await ensureRig((line) => console.log(line));
  const root = join(rig.directory, 'disk');
  await mkdir(root);
  const unmount = mountSmallDisk(root, DISK_MEBIBYTES);
  try {
    return await withFolder(async (folder) => {
      const dataDirectory = join(folder, 'postgres');
      let postgres = await startEmbeddedPostgres({ dataDirectory });
      const restart = async (): Promise<void> => {
        await postgres.stop();
        postgres = await startEmbeddedPostgres({ dataDirectory });
      };
      const connection = await connect(postgres.url, { max: 2 });
      try {
        await migrateDatabase(connection.pool);
        const { pool } = connection;
        return judge(rounds, await runChaos({
          rig, databaseUrl: postgres.url, query: pool.query.bind(pool) as typeof pool.query, root, report: (line) => console.log(line),
          faults: planRounds(rounds, restart),
        }));
      } finally {
        await connection.close();
        await postgres.stop();
      }
    });
  } finally {
    unmount();
    await takeDownRig();
  }
}

/** Every fault once, as far as the rounds go; in the rest, and between them, the server is killed at random moments. */
function planRounds(rounds: number, restart: () => Promise<void>): Fault[] {
  const away = rounds >= DEFAULT_ROUNDS ? CONTROLLER_AWAY.full : CONTROLLER_AWAY.short;
  const once = shuffled([
    restartSshd, stopController(away), stopAccounting(10), restartPostgres(restart), fillDisk,
    ...(Object.keys(SBATCH_FAULTS) as SbatchFault[]).filter((fault) => fault !== 'submits, then hangs').map(breakSbatch), ...PASSED_POINTS.map(crashAt),
  ]).slice(0, rounds);
  return shuffled([...once, ...Array.from({ length: rounds - once.length }, () => killServer)]);
}

function shuffled<Item>(items: Item[]): Item[] {
  return items.map((item) => ({ item, at: Math.random() })).sort((a, b) => a.at - b.at).map(({ item }) => item);
}

function judge(rounds: number, { lost, doubled, wrong, missedEvents, ...counts }: Awaited<ReturnType<typeof runChaos>>): BenchResult {
  for (const [what, list] of Object.entries({ lost, doubled, wrong, missedEvents })) for (const line of list) console.log(`${what}: ${line}`);
  console.log(`${counts.jobs} jobs submitted, ${counts.executions} executions counted by the jobs, ended as ${JSON.stringify(counts.states)}; not completed because ${JSON.stringify(counts.reasons)}`);
  console.log(`lost ${lost.length}, doubled ${doubled.length}, wrong ${wrong.length}, events missed ${missedEvents.length}`);
  return {
    goal: 'lost 0, doubled 0, wrong 0', ok: [lost, doubled, wrong, missedEvents].every((list) => list.length === 0), rounds, ...counts,
    lost: lost.length, doubled: doubled.length, wrong: wrong.length, missedEvents: missedEvents.length,
  };
}

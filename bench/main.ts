/** `npm run bench -- NAME`: prints figures and, last, one line of JSON. Exit code 1 when the goal was missed. */
import { benchCancel } from './cancel.ts';
import { benchChaos } from './chaos.ts';
import { benchChart } from './chart.ts';
import { benchExport } from './export.ts';
import { benchGraphql } from './graphql.ts';
import { benchIngest } from './ingest.ts';
import { benchLatency } from './latency.ts';
import { benchLeaderboard } from './leaderboard.ts';
import { benchPoll } from './poll.ts';
import type { BenchResult } from './result.ts';
import { benchStartup } from './startup.ts';
import { benchSubmit } from './submit.ts';

const BENCHES: Record<string, () => Promise<BenchResult>> = {
  cancel: benchCancel, chaos: benchChaos, chart: benchChart, export: benchExport, graphql: benchGraphql, ingest: benchIngest, latency: benchLatency, leaderboard: benchLeaderboard, poll: benchPoll, startup: benchStartup, submit: benchSubmit,
};

const name = process.argv[2] ?? '';
const bench = Object.hasOwn(BENCHES, name) ? BENCHES[name] : undefined;
if (bench === undefined) {
  console.error(`usage: npm run bench -- NAME [--jobs N | --points N]\nNAME is one of ${Object.keys(BENCHES).join(', ')}`);
  process.exitCode = 2;
} else {
  const result = await bench();
  console.log(JSON.stringify({ bench: name, ...result }));
  process.exitCode = result.ok ? 0 : 1;
}

/** How long `npm start` takes, against a database that exists, until it says that it is ready. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { startServer } from '../src/cli/server-process.ts';
import type { ServerProcess } from '../src/cli/server-process.ts';
import { median, rounded } from './result.ts';
import type { BenchResult } from './result.ts';
import { REPOSITORY, startBuiltServer, withFolder } from './server.ts';

const RUNS = 5;
const GOAL_SECONDS = 1;

export async function benchStartup(): Promise<BenchResult> {
  return withFolder(async (dataDirectory) => {
    // `npm start` runs in the repository, where somebody's own expgraph.yaml may lie.
    const config = join(dataDirectory, 'empty.yaml');
    await writeFile(config, '# all defaults\n');
    const first = await timed(() => startBuiltServer(dataDirectory));
    console.log(`first start, which makes the database: ${first.toFixed(2)} s`);
    const starts: number[] = [];
    for (let run = 1; run <= RUNS; run += 1) {
      starts.push(await timed(() => startServer({
        dataDirectory, argv: ['npm', 'start'], workingDirectory: REPOSITORY, settings: { EXPGRAPH_CONFIG: config }, signal: new AbortController().signal,
      })));
      console.log(`npm start, run ${run}: ${starts.at(-1)?.toFixed(2)} s`);
    }
    const medianSeconds = rounded(median(starts));
    console.log(`median of ${RUNS}: ${medianSeconds} s`);
    return { goal: `ready in under ${GOAL_SECONDS} s (median of ${RUNS})`, ok: medianSeconds < GOAL_SECONDS, medianSeconds, seconds: starts.map(rounded), firstStartSeconds: rounded(first) };
  });
}

/** Seconds until ready; the server is stopped again. */
async function timed(start: () => Promise<ServerProcess>): Promise<number> {
  const begun = performance.now();
  const server = await start();
  const elapsed = (performance.now() - begun) / 1000;
  await server.stop();
  return elapsed;
}

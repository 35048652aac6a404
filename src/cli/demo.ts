/** `npm run demo`: a server of its own, a sweep of 24 real training runs, live progress, a leaderboard, and the checkpoint to load. */
import { execFile } from 'node:child_process';
import { access, chmod, mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { runProgram } from './command-line.ts';
import { openGraphqlClient } from './graphql-client.ts';
import type { GraphqlClient } from './graphql-client.ts';
import { fetchLeaderboard, renderLeaderboard } from './leaderboard.ts';
import { openProgressDisplay } from './progress-display.ts';
import { startServer } from './server-process.ts';
import type { ServerProcess } from './server-process.ts';
import { EXPERIMENT, GROUP_BY, METRIC, TRAINER, cancelSweep, submitSweep, watchSweep } from './sweep.ts';

const run = promisify(execFile);
const say = (text = '') => process.stdout.write(`${text}\n`);
const seconds = (since: number) => `${((performance.now() - since) / 1000).toFixed(1)} s`;

const INTERRUPTED = 130;

/** A failure that tells the user what to do. */
class DemoError extends Error {}

async function requirePython(): Promise<void> {
  await run('python3', ['-c', 'import sys; sys.exit(sys.version_info < (3, 8))']).catch(() => {
    throw new DemoError('the training runs need Python 3.8 or newer as "python3"; install it (Debian: apt-get install python3) and try again');
  });
}

/** A folder that the embedded PostgreSQL may enter when root runs this: it runs as another user. */
async function makeFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'expgraph-demo-'));
  await chmod(folder, 0o711);
  return folder;
}

async function runSweep(client: GraphqlClient, signal: AbortSignal, server: ServerProcess): Promise<void> {
  const begun = performance.now();
  const { sweepId, jobCount } = await submitSweep(client);
  say(`sweep       ${jobCount} jobs, at most ${availableParallelism()} at a time`);
  const display = openProgressDisplay(process.stdout);
  const interrupted = new Promise<never>((_, reject) => { signal.addEventListener('abort', () => reject(signal.reason as Error)); });
  try {
    const { states, total } = await Promise.race([watchSweep(client, sweepId, display), server.ended, interrupted]);
    const completed = states.find(({ state }) => state === 'COMPLETED')?.count ?? 0;
    if (completed < total) throw new DemoError(`only ${completed} of ${total} runs completed; see the logs in the job directories (--keep leaves them)`);
  } catch (error) {
    await cancelSweep(client, sweepId).catch(() => {});
    throw error;
  } finally {
    display.close();
  }
  say(`done        ${jobCount} runs in ${seconds(begun)}`);
}

async function showLeaderboard(client: GraphqlClient): Promise<void> {
  const rows = await fetchLeaderboard(client, EXPERIMENT, GROUP_BY);
  const checkpoint = rows[0]?.checkpoint?.path;
  if (checkpoint === undefined) throw new DemoError('the leaderboard names no checkpoint');
  const directory = dirname(dirname(dirname(checkpoint)));
  say(`\nLeaderboard: lowest ${METRIC} first, mean over the seeds; checkpoints are below\n${directory}\n`);
  say(renderLeaderboard(rows, GROUP_BY, METRIC, directory));
  await access(checkpoint).catch(() => { throw new DemoError(`the best checkpoint is not on disk: ${checkpoint}`); });
  const { stdout } = await run('python3', [join(dirname(TRAINER), 'evaluate.py'), checkpoint]);
  say(`\nCheckpoint to load:\n${checkpoint}\nevaluate.py loaded it: ${stdout.trim()}`);
}

function sayHowToGoOn(server: ServerProcess, folder: string): void {
  say(`
The server is still up (process ${server.pid}).
  GraphQL     ${server.url}   (a browser gets GraphiQL there)
  WebSocket   ${server.url.replace(/^http/, 'ws')}
  token file  ${server.tokenFile}
  log         ${server.logFile}
For the Python client and examples/analysis.ipynb, before you start Python or Jupyter:
  export EXPGRAPH_URL=${server.url}
  export EXPGRAPH_TOKEN=$(cat ${server.tokenFile})
Stop it and remove everything: kill ${server.pid} && while kill -0 ${server.pid} 2>/dev/null; do sleep 0.1; done; rm -r ${folder}`);
}

/** Submits, watches and shows. The server is left to the caller. */
async function useServer(server: ServerProcess, signal: AbortSignal): Promise<void> {
  const client = openGraphqlClient(server.url, server.token);
  try {
    await runSweep(client, signal, server);
    await showLeaderboard(client);
  } finally {
    await client.close();
  }
}

async function demo(keep: boolean, signal: AbortSignal): Promise<void> {
  const begun = performance.now();
  await requirePython();
  const folder = await makeFolder();
  let server: ServerProcess | undefined;
  try {
    server = await startServer({ dataDirectory: folder, signal });
    say(`server      ${server.url}, with its own PostgreSQL in ${folder} (${seconds(begun)})`);
    await useServer(server, signal);
  } finally {
    if (keep && server && !signal.aborted) {
      sayHowToGoOn(server, folder);
      server.release();
    } else {
      await server?.stop();
      await rm(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
    }
  }
  if (!keep) say(`\nEverything is stopped and removed (${seconds(begun)}); "npm run demo -- --keep" leaves the server and the checkpoints.`);
}

await runProgram({
  name: 'npm run demo --',
  description: 'Run a sweep of 24 small training runs on this machine and show which checkpoint is best',
  flags: { keep: 'leave the server and its data, and print the addresses' },
  async run({ keep }) {
    const interrupt = new AbortController();
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => interrupt.abort(new DemoError('interrupted; everything is stopped and removed')));
    try {
      await demo(keep, interrupt.signal);
    } catch (error) {
      process.stderr.write(`\ndemo: ${error instanceof Error ? error.message : String(error)}\n`);
      process.exitCode = interrupt.signal.aborted ? INTERRUPTED : 1;
    }
  },
});

/** Starts the server, says when it is ready, and ends it in good order when told to. */
import { runProgram } from './cli/command-line.ts';
import { loadConfig, type Config } from './config.ts';
import { startServer, type RunningServer } from './context.ts';
import { createLogger, type Logger } from './logger.ts';
import { startFaults } from './start-failure.ts';

/** After this an end in good order is given up, so that a hanging connection cannot keep the process alive. */
const STOP_DEADLINE_MS = 20_000;
/** The same for a server that is still starting: nobody uses it yet. */
const INTERRUPT_DEADLINE_MS = 5_000;

async function serve(newToken: boolean): Promise<void> {
  const config = loadConfig();
  const logger = createLogger(config.logLevel);
  const interrupt = new AbortController();
  const starting = startServer(config, logger, { signal: interrupt.signal, newToken });
  let isStarting = true;
  const stop = async (signal: NodeJS.Signals): Promise<void> => {
    if (interrupt.signal.aborted) return;
    logger.info({ signal }, 'stopping');
    const deadlineMs = isStarting ? INTERRUPT_DEADLINE_MS : STOP_DEADLINE_MS;
    setTimeout(() => {
      logger.error({ deadlineMs }, 'not stopped in time, leaving');
      process.exit(1);
    }, deadlineMs).unref();
    interrupt.abort(new Error(`stopped by ${signal} while starting`));
    const server = await starting.catch((error: unknown) => logger.info({ reason: error instanceof Error ? error.message : error }, 'the start was broken off'));
    await server?.stop();
    logger.info('stopped');
    process.exit(0);
  };
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, (received) => void stop(received));
  sayConfiguration(config, logger);
  try {
    const server = await starting;
    isStarting = false;
    if (!interrupt.signal.aborted) sayReady(server, logger);
  } catch (error) {
    if (!interrupt.signal.aborted) throw error;
  }
}

function sayConfiguration({ configFile: { path, isThere }, clusters }: Config, logger: Logger): void {
  const about = { configFile: path, clusters: [...clusters.values()].map(({ name, kind }) => `${name} (${kind})`) };
  if (isThere) logger.info(about, 'configuration read');
  else logger.info(about, 'there is no such configuration file, so no cluster is configured: jobs run on this machine');
}

function sayReady({ url, tokenFile, madeToken, isTokenFileMissing }: RunningServer, logger: Logger): void {
  if (madeToken !== null) {
    // Standard error that is no terminal ends up in a file, which more people may read than the token's own.
    if (process.stderr.isTTY) process.stderr.write(`A new token, shown only now and kept in ${tokenFile}: ${madeToken}\n`);
    else logger.info({ tokenFile }, 'a new token was made; it is in its file, which only its owner can read');
  }
  const where = url === null ? 'to reconcile' : `at ${url}`;
  const token = isTokenFileMissing ? `the token file ${tokenFile} is missing; start once with --new-token if nobody has a token` : `token file: ${tokenFile}`;
  process.stdout.write(`expgraph is ready ${where} (${token})\n`);
}

await runProgram({
  name: 'npm start --',
  description: 'The expgraph server. Settings come from the environment and expgraph.yaml; the README lists them',
  flags: { 'new-token': 'make a token with all scopes and keep it in the token file, for when that file was lost' },
  async run({ 'new-token': newToken }) {
    try {
      await serve(newToken);
    } catch (error) {
      const faults = startFaults(error) ?? [`by a fault of ours: ${error instanceof Error ? error.stack : String(error)}`];
      process.stderr.write(`expgraph cannot start:\n${faults.map((fault) => `  ${fault}\n`).join('')}`);
      process.exit(1);
    }
  },
});

/** Starts the server, says when it is ready, and ends it in good order when told to. */
import { loadConfig } from './config.ts';
import { startServer } from './context.ts';
import { UserError } from './domain/errors.ts';
import { createLogger } from './logger.ts';

/** After this an end in good order is given up, so that a hanging connection cannot keep the process alive. */
const STOP_DEADLINE_MS = 20_000;

async function main(): Promise<void> {
  const config = loadConfig();
  const logger = createLogger(config.logLevel);
  const starting = startServer(config, logger);
  let stopping = false;
  const stop = async (signal: NodeJS.Signals): Promise<void> => {
    if (stopping) return;
    stopping = true;
    logger.info({ signal }, 'stopping');
    setTimeout(() => {
      logger.error({ deadlineMs: STOP_DEADLINE_MS }, 'not stopped in time, leaving');
      process.exit(1);
    }, STOP_DEADLINE_MS).unref();
    // A signal that comes during the start waits for its end: half a start cannot be stopped in good order.
    await (await starting).stop();
    logger.info('stopped');
    process.exit(0);
  };
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, (received) => void stop(received));
  const server = await starting;
  if (stopping) return;
  if (server.firstToken !== null) process.stderr.write(`The first token, shown only now and kept in ${server.tokenFile}: ${server.firstToken}\n`);
  const where = server.url === null ? 'to reconcile' : `at ${server.url}`;
  process.stdout.write(`expgraph is ready ${where} (token file: ${server.tokenFile})\n`);
}

main().catch((error: unknown) => {
  if (!(error instanceof UserError)) throw error;
  const faults = error.faults.map(({ field, message }) => `  ${field.length > 0 ? `${field.join('.')}: ` : ''}${message}`);
  process.stderr.write(`expgraph cannot start:\n${faults.join('\n')}\n`);
  process.exit(1);
});

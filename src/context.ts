/** The composition root: puts the rooms together for the roles that were asked for, and takes them apart again. */
import { access, open, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { Registry } from 'prom-client';
import { ensureFirstToken, replaceLostToken } from './actions/create-token.ts';
import type { ActionContext } from './actions/action-context.ts';
import { openCluster } from './cluster/open-cluster.ts';
import type { Config } from './config.ts';
import { connect, type Connection } from './db/connect.ts';
import { startEmbeddedPostgres } from './db/embedded-postgres.ts';
import { openFeed, type Feed } from './db/feed.ts';
import { makeFolder } from './db/make-folder.ts';
import { migrateDatabase } from './db/migrate.ts';
import { readMaxArraySize } from './db/read/clusters.ts';
import { buildSubgraph } from './graphql/build-schema.ts';
import { registerClusterMetrics } from './http/metrics.ts';
import { createHttpServer } from './http/server.ts';
import { armCrashPoint } from './reconcilers/crash-point.ts';
import { startReconcilers, type Reconcilers } from './reconcilers/start.ts';
import type { Logger } from './logger.ts';

export interface RunningServer {
  /** Address of the GraphQL endpoint; null when this process has no `api` role. */
  url: string | null;
  /** File with the first token, readable by its owner only. */
  tokenFile: string;
  /** There are tokens, but the file is gone. */
  isTokenFileMissing: boolean;
  /** The token that was made just now, if any: to be shown this once. */
  madeToken: string | null;
  /** Ends what was begun: finishes requests in flight, stops the loops after their round, then the database. Jobs go on. */
  stop(): Promise<void>;
}

export interface StartOptions {
  /** Breaks the start off: it rejects with the signal's reason. */
  signal: AbortSignal;
  /** Make a token even when there are some. */
  newToken: boolean;
}

/** Starts everything, in order. Whatever was started is stopped again when a later step fails. */
export async function startServer(
  config: Config, logger: Logger, { signal, newToken }: StartOptions = { signal: new AbortController().signal, newToken: false },
): Promise<RunningServer> {
  armCrashPoint(config.crashAt);
  const started: (() => Promise<void>)[] = [];
  const stop = async (): Promise<void> => {
    for (const stopOne of started.splice(0).reverse()) await stopOne();
  };
  try {
    await makeFolder(config.dataDirectory);
    const url = await databaseUrl(config, logger, signal, started);
    const connection = await unlessAborted(connect(url, { max: config.database.maxConnections, log: logger }), signal);
    started.push(() => connection.close());
    await migrateDatabase(connection.pool);
    const tokenFile = join(config.dataDirectory, 'token');
    const keep = (token: string): Promise<void> => keepToken(tokenFile, token);
    const madeToken = await ensureFirstToken(connection.database, keep) ?? (newToken ? await replaceLostToken(connection.database, new Date(), keep) : null);
    const isTokenFileMissing = await access(tokenFile).then(() => false, (error: NodeJS.ErrnoException) => error.code === 'ENOENT');
    if (isTokenFileMissing) logger.warn({ tokenFile }, 'the token file is missing though there are tokens; start once with --new-token to make one more');
    signal.throwIfAborted();
    const feed = await openFeed(connection, logger);
    started.push(() => feed.close());
    const registry = new Registry();
    const reconcilers = config.roles.includes('reconcile') ? reconcile(config, url, connection, feed, registry, logger, started) : null;
    const address = config.roles.includes('api') ? await serve(config, connection, feed, reconcilers, registry, logger, started) : null;
    return { url: address, tokenFile, isTokenFileMissing, madeToken, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Does not wait for the promise any longer once the signal is given; what it comes to then is lost. */
async function unlessAborted<Value>(promise: Promise<Value>, signal: AbortSignal): Promise<Value> {
  const settled = new AbortController();
  try {
    return await Promise.race([promise, new Promise<never>((_, reject) => {
      if (signal.aborted) reject(signal.reason as Error);
      signal.addEventListener('abort', () => reject(signal.reason as Error), { signal: settled.signal });
    })]);
  } finally {
    settled.abort();
  }
}

async function databaseUrl(config: Config, logger: Logger, signal: AbortSignal, started: (() => Promise<void>)[]): Promise<string> {
  if (config.database.url !== null) return config.database.url;
  const postgres = await startEmbeddedPostgres({ dataDirectory: join(config.dataDirectory, 'postgres'), logger, signal });
  started.push(() => postgres.stop());
  return postgres.url;
}

function reconcile(
  config: Config, url: string, { database }: Connection, feed: Feed, registry: Registry, logger: Logger, started: (() => Promise<void>)[],
): Reconcilers {
  const clusters = [...config.clusters.values()].map((settings) => openCluster(settings, logger));
  started.push(async () => { await Promise.all(clusters.map((cluster) => cluster.close())); });
  registerClusterMetrics(registry, clusters.map(({ settings, commandCounts, budget, breaker }) => ({ name: settings.name, commandCounts, budget, breaker })));
  const { failureRules, retryPolicy } = config;
  const reconcilers = startReconcilers({
    database, databaseUrl: url, clusters, policies: { failureRules, retryPolicy }, onEvents: (listener) => feed.onEvents(listener), logger,
  });
  started.push(() => reconcilers.stop());
  return reconcilers;
}

/** Durable before anybody may use it: a token that only a lost file knew would lock everybody out. */
async function keepToken(path: string, token: string): Promise<void> {
  const temporary = `${path}.tmp`;
  const file = await open(temporary, 'w', 0o600);
  try {
    await file.chmod(0o600);
    await file.writeFile(`${token}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
}

async function serve(
  config: Config, { database, pool }: Connection, feed: Feed, reconcilers: Reconcilers | null, registry: Registry, logger: Logger,
  started: (() => Promise<void>)[],
): Promise<string> {
  const actionContext = (tokenName: string): ActionContext => ({
    database, clusters: config.clusters, defaultCluster: config.defaultCluster, limits: config.limits, tokenName,
    maxArraySizeOf: (cluster) => readMaxArraySize(database, cluster),
  });
  const { host, port, allowedOrigins, maxRequestBytes, queryLimits } = config;
  const server = await createHttpServer({
    host, port, allowedOrigins, maxRequestBytes, queryLimits, database, feed, actionContext, logger, failureRules: config.failureRules,
    schema: buildSubgraph(),
    registry,
    readinessChecks: {
      database: async () => { await pool.query('select 1'); return null; },
      ...(reconcilers === null ? {} : { reconcilers: async () => reconcilers.problem() }),
    },
  });
  started.push(() => server.close());
  const { url } = await server.listen();
  return `${url}/graphql`;
}

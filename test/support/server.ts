/** The whole server, in this process, on a database of its own. */
import { mkdtemp, readFile, rm, writeFile, chmod } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadConfig } from '../../src/config.ts';
import { startServer, type RunningServer } from '../../src/context.ts';
import { createLogger } from '../../src/logger.ts';
import { testDatabase } from './database.ts';
import { openTestClient, type TestClient } from './graphql-client.ts';

export interface TestServer {
  client: TestClient;
  url: string;
  token: string;
  databaseUrl: string;
  dataDirectory: string;
  stop(): Promise<void>;
}

export interface TestServerOptions {
  /** Text of expgraph.yaml, or a path of one. Absent: one local cluster. */
  configText?: string;
  configPath?: string;
}

export async function startTestServer({ configText, configPath }: TestServerOptions = {}): Promise<TestServer> {
  const dataDirectory = await mkdtemp(join(tmpdir(), 'expgraph-test-'));
  await chmod(dataDirectory, 0o755);
  const database = await testDatabase();
  const configFile = configPath ?? join(dataDirectory, 'expgraph.yaml');
  if (configPath === undefined) await writeFile(configFile, configText ?? '');
  const config = loadConfig({ configFile, dataDirectory, databaseUrl: database.url, port: 0, logLevel: 'warn' }, { HOME: process.env['HOME'] });
  const server: RunningServer = await startServer(config, createLogger(config.logLevel));
  const token = (await readFile(server.tokenFile, 'utf8')).trim();
  const client = openTestClient(server.url!, token);
  return {
    client, url: server.url!, token, databaseUrl: database.url, dataDirectory,
    async stop() {
      await client.close();
      await server.stop();
      await database.drop();
      await rm(dataDirectory, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
    },
  };
}

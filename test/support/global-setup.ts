/**
 * Installs the Debian packages that tests need, where it may. Starts the one PostgreSQL server that all test files of a run share, or takes the one that TEST_DATABASE_URL names (a role
 * that may make databases), to try another version.
 */
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { connect } from '../../src/db/connect.ts';
import { startEmbeddedPostgres } from '../../src/db/embedded-postgres.ts';
import { migrateDatabase } from '../../src/db/migrate.ts';
import { installTestPackages } from '../rig/packages.ts';
import { TEMPLATE_DATABASE, urlOfDatabase } from './database.ts';

declare module 'vitest' {
  interface ProvidedContext {
    postgresUrl: string;
  }
}

export async function setup(project: TestProject): Promise<() => Promise<void>> {
  installTestPackages((line) => console.log(line));
  const givenUrl = process.env['TEST_DATABASE_URL'];
  if (givenUrl !== undefined) {
    await makeTemplate(givenUrl);
    project.provide('postgresUrl', givenUrl);
    return () => Promise.resolve();
  }
  const folder = await mkdtemp(join(tmpdir(), 'expgraph-test-'));
  await chmod(folder, 0o755);
  const server = await startEmbeddedPostgres({ dataDirectory: join(folder, 'postgres'), durable: false });
  const stop = async (): Promise<void> => {
    await server.stop();
    await rm(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
  };
  try {
    await makeTemplate(server.url);
  } catch (error) {
    await stop();
    throw error;
  }
  project.provide('postgresUrl', server.url);
  return stop;
}

async function makeTemplate(url: string): Promise<void> {
  const admin = await connect(url, { max: 1 });
  await admin.pool.query(`drop database if exists ${TEMPLATE_DATABASE}`);
  await admin.pool.query(`create database ${TEMPLATE_DATABASE}`);
  await admin.close();
  const template = await connect(urlOfDatabase(url, TEMPLATE_DATABASE), { max: 1 });
  await migrateDatabase(template.pool);
  await template.close();
}

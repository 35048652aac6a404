/** A built server on a PostgreSQL that the bench reaches, too, with jobs that wait for ever and so only hold metrics. */
import { once } from 'node:events';
import { chmod, mkdir } from 'node:fs/promises';
import { request, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import pg from 'pg';
import pino from 'pino';
import { openGraphqlClient, type GraphqlClient } from '../src/cli/graphql-client.ts';
import { startEmbeddedPostgres } from '../src/db/embedded-postgres.ts';
import { startBuiltServer, withFolder } from './server.ts';

export interface MetricServer {
  folder: string;
  client: GraphqlClient;
  pool: pg.Pool;
  /** Of the same database, for writes of the product that the server offers nobody. */
  databaseUrl: string;
  /** Without a path. */
  url: string;
  token: string;
  pid: number;
  /** Sends a body to the bulk endpoint, as it is made; answers how many points were taken. */
  ingest(body: Iterable<Uint8Array> | AsyncIterable<Uint8Array>, contentType: string): Promise<number>;
}

export async function withMetricServer<Answer>(use: (server: MetricServer) => Promise<Answer>): Promise<Answer> {
  return withFolder(async (folder) => {
    const postgres = await startEmbeddedPostgres({ dataDirectory: join(folder, 'postgres'), logger: pino({ level: 'silent' }), signal: new AbortController().signal });
    const pool = new pg.Pool({ connectionString: postgres.url, max: 2 });
    // A connection that is still being closed when PostgreSQL stops is told so, which would end the bench before its last line.
    pool.on('error', () => undefined);
    try {
      await chmod(folder, 0o755);
      const dataDirectory = join(folder, 'data');
      await mkdir(dataDirectory);
      const server = await startBuiltServer(dataDirectory, { DATABASE_URL: postgres.url.replace('@/', '@localhost/') });
      const client = openGraphqlClient(server.url, server.token);
      try {
        return await use({ folder, client, pool, databaseUrl: postgres.url, url: server.url.replace(/\/graphql$/, ''), token: server.token, pid: server.pid, ingest: (body, contentType) => ingest(server.url, server.token, body, contentType) });
      } finally {
        await client.close();
        await server.stop();
      }
    } finally {
      await pool.end();
      await postgres.stop();
    }
  });
}

async function ingest(graphqlUrl: string, token: string, body: Iterable<Uint8Array> | AsyncIterable<Uint8Array>, contentType: string): Promise<number> {
  const outgoing = request(graphqlUrl.replace(/graphql$/, 'ingest/metrics'), { method: 'POST', headers: { 'content-type': contentType, authorization: `Bearer ${token}` } });
  const answered = once(outgoing, 'response') as Promise<[IncomingMessage]>;
  await pipeline(Readable.from(body), outgoing);
  const [response] = await answered;
  const answer = JSON.parse(await text(response)) as { pointCount?: number; rejectedCount?: number };
  if (response.statusCode !== 200 || answer.rejectedCount !== 0) throw new Error(`ingest answered ${response.statusCode}: ${JSON.stringify(answer).slice(0, 500)}`);
  return answer.pointCount ?? 0;
}

const SUBMIT = 'mutation ($input: SubmitSweepInput!) { submitSweep(input: $input) { jobs { jobId } userErrors { message } } }';

/** Submits jobs that stay held. Answers their ids. */
export async function heldJobs(client: GraphqlClient, experiment: string, count: number): Promise<string[]> {
  return submitHeld(client, experiment, { seeds: { values: Array.from({ length: count }, (_, seed) => seed) } });
}

/** Submits a sweep whose jobs stay held, of an experiment whose objective is the least `val/loss`. Answers their ids. */
export async function submitHeld(client: GraphqlClient, experiment: string, space: object): Promise<string[]> {
  const input = { project: 'bench', experiment, name: 'held', held: true, command: ['true'], objective: { metric: 'val/loss', goal: 'MIN' }, space };
  const { submitSweep: { jobs, userErrors } } = await client.request<{ submitSweep: { jobs: { jobId: string }[]; userErrors: { message: string }[] } }>(SUBMIT, { input });
  if (userErrors.length > 0) throw new Error(userErrors.map(({ message }) => message).join('; '));
  return jobs.map(({ jobId }) => jobId);
}

/** Lines of the bulk endpoint: columns of 1,000 points, made as they are read. */
export function* columnLines(jobIds: readonly string[], keys: readonly string[], stepCount: number): Generator<Uint8Array> {
  const encoder = new TextEncoder();
  for (let from = 0; from < stepCount; from += 1000) {
    const steps = Array.from({ length: Math.min(1000, stepCount - from) }, (_, index) => from + index);
    for (const jobId of jobIds) {
      const lines = keys.map((key) => JSON.stringify({ job_id: jobId, key, steps, values: steps.map((step) => valueAt(step)), times: steps.map((step) => START_SECONDS + step) }));
      yield encoder.encode(`${lines.join('\n')}\n`);
    }
  }
}

/** Of the first step of every series. */
export const START_SECONDS = 1_760_000_000;

/** A curve that falls, with noise that is the same in every run. */
export function valueAt(step: number): number {
  return 1 / (1 + step / 1000) + ((step * 7919) % 1000) / 10_000;
}

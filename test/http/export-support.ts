/** A server whose database holds an experiment with histories of every kind, and what reads its exports. */
import { request, type IncomingMessage } from 'node:http';
import { sql } from 'drizzle-orm';
import { submitSweep } from '../../src/actions/submit-sweep.ts';
import type { Database } from '../../src/db/database.ts';
import { buildSubgraph } from '../../src/graphql/build-schema.ts';
import { clusterSettings, smallSweep } from '../support/actions.ts';
import { startHttp, type TestHttp } from './support.ts';

export const ODD_KEY = 'größe, "m²"\nзеркало/🧪';
/** As the tests of the Python client make it, so that there is one. */
export const NOTEBOOK_PACKAGES = ['pytest==9.2.0', 'pandas==3.1.1', 'polars==2.1.0', 'pyarrow==26.0.1', 'tqdm==4.70.1', 'matplotlib==3.11.2', 'nbconvert==7.17.2', 'ipykernel==7.4.0'];
export const INSTALL_TIMEOUT_MS = 12 * 60_000;
const SECOND = 1_760_000_000_000;

export interface ExportTest {
  http: TestHttp;
  experimentId: string;
  sweepId: string;
  /** Six, in ascending order: of two attempts and odd names, of one point, of a long history, of thirty histories, and two without any. */
  jobIds: string[];
  get(path: string, parameters?: QueryParameters, token?: string): Promise<Response>;
  /** The whole file; throws when it is refused. */
  read(path: string, parameters?: QueryParameters): Promise<Buffer>;
  /** Begins an export and reads nothing beyond its first bytes. */
  begin(path: string): Promise<IncomingMessage>;
}

export type QueryParameters = Record<string, string | string[]>;

export async function exportTest(): Promise<ExportTest> {
  const http = await startHttp({ schema: buildSubgraph() });
  const { database } = http;
  const { jobs } = await submitSweep({
    database, clusters: new Map([['greene', clusterSettings('greene')]]), defaultCluster: 'greene', maxArraySizeOf: async () => null,
    limits: { maxJobsPerSweep: 100, maxConfigBytes: 100_000 }, tokenName: 'tester',
  }, smallSweep({ space: { base: { optim: { name: 'adam', lr: 0.1 } }, seeds: { values: [1, 2, 3, 4, 5, 6] } } }));
  const jobIds = jobs.map(({ jobId }) => jobId!).sort();
  const { rows: [job] } = await database.execute<{ experiment_id: string; sweep_id: string }>(sql`select experiment_id, sweep_id from jobs where id = ${jobIds[0]}`);
  await series(database, jobIds[0]!, 1, 'loss', [[0, 1, 0.5], [0, 2, 0.25], [1, 1, Number.NaN], [2, 1, Infinity], [2, 3, -Infinity], [3, 3, -0], [9_007_199_254_740_991, 3, 5e-324]]);
  await series(database, jobIds[0]!, 2, ODD_KEY, [[7, 1, 0.1]]);
  await series(database, jobIds[1]!, 1, 'loss', [[1, 1, 1.7976931348623157e308]]);
  await longSeries(database, jobIds[2]!, 1, 'long', 100_000);
  for (let number = 1; number <= 30; number += 1) await longSeries(database, jobIds[3]!, number, `key/${number}`, 4_000 + number);
  const address = (path: string, parameters: QueryParameters): string =>
    `${http.url}/export/${path}?${new URLSearchParams(Object.entries(parameters).flatMap(([name, values]) => [values].flat().map((value) => [name, value])))}`;
  const get: ExportTest['get'] = (path, parameters = {}, token = http.tokens.reader) => fetch(address(path, parameters), { headers: { authorization: `Bearer ${token}` } });
  return {
    http, experimentId: job!.experiment_id, sweepId: job!.sweep_id, jobIds, get,
    async read(path, parameters) {
      const response = await get(path, parameters);
      const body = Buffer.from(await response.arrayBuffer());
      if (response.status !== 200) throw new Error(`${response.status}: ${body}`);
      return body;
    },
    begin: (path) => new Promise((resolve, reject) => {
      request(address(path, {}), { headers: { authorization: `Bearer ${http.tokens.reader}` } }, (response) => {
        response.once('readable', () => resolve(response));
      }).on('error', reject).end();
    }),
  };
}

/** The objects of JSON lines. */
export function lines(body: Buffer): any[] {
  return body.toString().split('\n').slice(0, -1).map((line) => JSON.parse(line));
}

/** When the points of an attempt of a short history were logged. */
export function momentOf(attempt: number): string {
  return new Date(SECOND + attempt).toISOString();
}

type Point = [step: number, attempt: number, value: number];

async function series(database: Database, jobId: string, number: number, key: string, points: Point[]): Promise<void> {
  await database.execute(sql`insert into metric_series (job_id, series_number, key, point_count) values (${jobId}, ${number}, ${key}, ${points.length})`);
  for (const [step, attempt, value] of points) {
    await database.execute(sql`insert into metric_points (job_id, series_number, step, attempt_number, value, time)
      values (${jobId}, ${number}, ${step}, ${attempt}, ${Object.is(value, -0) ? '-0' : value}::float8, to_timestamp(${(SECOND + attempt) / 1000}::float8))`);
  }
}

/** At step n stands n / 7, as attempt 2 logged it; attempt 1 had logged something else at every 10th step. */
export async function longSeries(database: Database, jobId: string, number: number, key: string, length: number): Promise<void> {
  await database.execute(sql`insert into metric_series (job_id, series_number, key, point_count) values (${jobId}, ${number}, ${key}, ${length})`);
  await database.execute(sql`insert into metric_points (job_id, series_number, step, attempt_number, value, time)
    select ${jobId}::uuid, ${number}::int, step, attempt, case attempt when 1 then -1 else step / 7::float8 end, to_timestamp(1760000000 + step)
    from generate_series(0, ${length - 1}::bigint) as step cross join (values (1), (2)) as attempts(attempt) where attempt = 2 or step % 10 = 0`);
}

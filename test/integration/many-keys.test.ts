/** 10,000 metrics with names of every kind on one job, through each way in, and out by each way. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Float64, Int64, Table, tableFromIPC, tableToIPC, Utf8, vectorFromArray } from 'apache-arrow';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { INSTALL_TIMEOUT_MS, NOTEBOOK_PACKAGES } from '../http/export-support.ts';
import { until } from '../rig/processes.ts';
import { pythonEnvironment } from '../support/python-environment.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

const KEY_COUNT = 10_000;
const DEADLINE_MS = 120_000;
const ODD = ['a key with spaces', 'slashes/in/it', 'größe/зеркало/🧪', '"quoted" \'twice\'', 'dots.and.more', 'comma,semicolon;tab\tnewline\n', '{"json": 1}', '__proto__', 'constructor', 'x'.repeat(256),
  '🧪'.repeat(128), '%00%2F', '../../etc', '-', '\\', '$key', 'NaN', "'; drop table jobs; --"];
const KEYS = [...ODD, ...Array.from({ length: KEY_COUNT - ODD.length }, (_, index) => `layer ${index}/größe "${index % 7}".norm`)];
/** Too long, empty, and not storable. */
const BAD_KEYS = ['k'.repeat(500), '', 'nul\0'];
const valueOf = (index: number): number => index / 8 - 3;
const SUBMIT = 'mutation ($input: SubmitJobInput!) { submitJob(input: $input) { job { id } userErrors { message } } }';
const RECORD = 'mutation ($input: RecordMetricsInput!) { recordMetrics(input: $input) { pointCount userErrors { field message } } }';

let server: TestServer;
let folder: string;
beforeAll(async () => {
  server = await startTestServer();
  folder = await mkdtemp(join(tmpdir(), 'expgraph-keys-'));
}, DEADLINE_MS);
afterAll(async () => {
  await server?.stop();
  await rm(folder, { recursive: true, force: true });
}, DEADLINE_MS);

const base = (): string => server.url.replace(/\/graphql$/, '');

async function submit(name: string, command: string[], held: boolean): Promise<string> {
  const { submitJob } = await server.client.request(SUBMIT, { input: { project: 'tests', experiment: 'keys', name, command, held, config: { name } } });
  expect(submitJob.userErrors).toEqual([]);
  return submitJob.job.id;
}

async function ingest(body: string | Uint8Array, type: string): Promise<any> {
  const response = await fetch(`${base()}/ingest/metrics`, { method: 'POST', body: body as BodyInit, headers: { 'content-type': type, authorization: `Bearer ${server.token}` } });
  expect(response.status).toBe(200);
  return response.json();
}

/** An object whose members are set, whatever their names. */
const lineOf = (members: [string, unknown][]): string => `{${members.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`).join()}}\n`;
const allKeys = [...KEYS, ...BAD_KEYS];

async function byFile(): Promise<string> {
  const file = join(folder, 'metrics.jsonl');
  await writeFile(file, lineOf([['step', 7], ...allKeys.map((key, index): [string, number] => [key, valueOf(index)])]), { mode: 0o644 });
  const jobId = await submit('file', ['cp', file, '{job_dir}/metrics.jsonl'], false);
  await until('the file to be read', DEADLINE_MS, async () => (await server.client.request('query ($id: ID!) { job(id: $id) { state } }', { id: jobId })).job.state === 'COMPLETED');
  const { job } = await server.client.request('query ($id: ID!) { job(id: $id) { dropped { reason count } } }', { id: jobId });
  expect(job.dropped.map(({ count }: any) => count)).toEqual([1, 1, 1]);
  return jobId;
}

async function byMutation(): Promise<string> {
  const jobId = await submit('mutation', ['true'], true);
  const series = (keys: string[]) => keys.map((key) => ({ key, steps: [7], values: [valueOf(allKeys.indexOf(key))] }));
  const refused = await server.client.request(RECORD, { input: { jobId, series: series(BAD_KEYS) } });
  expect(refused.recordMetrics.userErrors.map(({ field }: any) => field)).toEqual(BAD_KEYS.map((_, index) => ['series', String(index), 'key']));
  const { recordMetrics } = await server.client.request(RECORD, { input: { jobId, series: series(KEYS) } });
  expect(recordMetrics).toEqual({ pointCount: KEY_COUNT, userErrors: [] });
  return jobId;
}

async function byNdjson(): Promise<string> {
  const jobId = await submit('ndjson', ['true'], true);
  const columns = (keys: string[]): string => keys.map((key) => lineOf([['job_id', jobId], ['key', key], ['steps', [7]], ['values', [valueOf(allKeys.indexOf(key))]]])).join('');
  expect(await ingest(columns(allKeys), 'application/x-ndjson')).toMatchObject({ pointCount: KEY_COUNT, rejectedCount: BAD_KEYS.length });
  return jobId;
}

async function byArrow(): Promise<string> {
  const jobId = await submit('arrow', ['true'], true);
  const table = new Table({
    job_id: vectorFromArray(allKeys.map(() => jobId), new Utf8()), key: vectorFromArray(allKeys, new Utf8()), step: vectorFromArray(allKeys.map(() => 7n), new Int64()),
    value: vectorFromArray(allKeys.map((_, index) => valueOf(index)), new Float64()),
  });
  expect(await ingest(tableToIPC(table, 'stream'), 'application/vnd.apache.arrow.stream')).toMatchObject({ pointCount: KEY_COUNT, rejectedCount: BAD_KEYS.length });
  return jobId;
}

const expected = new Map(KEYS.map((key, index) => [key, valueOf(index)]));

async function exported(jobId: string, format: string): Promise<Response> {
  const response = await fetch(`${base()}/export/job/${jobId}/metrics.${format}`, { headers: { authorization: `Bearer ${server.token}` } });
  expect(response.status).toBe(200);
  return response;
}

/** Fields of RFC 4180. */
function csvRows(text: string): string[][] {
  const rows: string[][] = [[]];
  for (const [, quoted, plain, end] of text.matchAll(/(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r?\n|$)/g)) {
    rows.at(-1)!.push(quoted?.replaceAll('""', '"') ?? plain ?? '');
    if (end !== ',') rows.push([]);
  }
  return rows.filter((row) => row.length > 1);
}

describe.each([['a harvested file', byFile], ['the mutation', byMutation], ['NDJSON', byNdjson], ['Arrow', byArrow]])('10,000 metrics of one job, by %s', (_, send) => {
  let jobId: string;
  beforeAll(async () => { jobId = await send(); }, 2 * DEADLINE_MS);

  test('are all listed, and are drawn under their names', async () => {
    const { job } = await server.client.request('query ($id: ID!) { job(id: $id) { metrics(maxPoints: 2) { key pointCount last { step value } } } }', { id: jobId });
    expect(new Map(job.metrics.map(({ key, last }: any) => [key, last.value]))).toEqual(expected);
    expect(job.metrics.every(({ pointCount, last }: any) => pointCount === 1 && last.step === 7)).toBe(true);
    const charts = await server.client.request('query ($id: ID!, $keys: [String!]) { job(id: $id) { metrics(keys: $keys) { key steps values } } }', { id: jobId, keys: ODD });
    expect(new Map(charts.job.metrics.map(({ key, steps, values }: any) => [key, [steps, values]]))).toEqual(new Map(ODD.map((key) => [key, [[7], [expected.get(key)]]])));
  });

  test('are exported as they are', async () => {
    const objects = (await (await exported(jobId, 'jsonl')).text()).trimEnd().split('\n').map((line) => JSON.parse(line));
    expect(new Map(objects.map(({ key, value }) => [key, value]))).toEqual(expected);
    const [header, ...rows] = csvRows(await (await exported(jobId, 'csv')).text());
    expect(new Map(rows.map((row) => [row[header!.indexOf('key')], Number(row[header!.indexOf('value')])]))).toEqual(expected);
    const table = tableFromIPC(new Uint8Array(await (await exported(jobId, 'arrow')).arrayBuffer()));
    expect(new Map(Array.from(table, (row) => [row['key'], row['value']]))).toEqual(expected);
  });

  if (send === byArrow) test('are all in the Parquet file, as pyarrow reads it', async (context) => {
    const { bin, unavailable } = await pythonEnvironment('notebook', NOTEBOOK_PACKAGES);
    const python = `${bin ?? context.skip(unavailable)}/python`;
    const file = join(folder, 'metrics.parquet');
    await writeFile(file, Buffer.from(await (await exported(jobId, 'parquet')).arrayBuffer()));
    const script = 'import json, sys, pyarrow.parquet as parquet; print(json.dumps([[row["key"], row["step"], row["value"]] for row in parquet.read_table(sys.argv[1]).to_pylist()]))';
    const rows = JSON.parse((await promisify(execFile)(python, ['-c', script, file], { maxBuffer: 64 * 1024 * 1024 })).stdout) as [string, number, number][];
    expect(rows).toHaveLength(KEY_COUNT);
    expect(new Map(rows.map(([key, , value]) => [key, value]))).toEqual(expected);
    expect(rows.every(([, step]) => step === 7)).toBe(true);
  }, INSTALL_TIMEOUT_MS);
});

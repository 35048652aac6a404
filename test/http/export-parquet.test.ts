/** Parquet, as pyarrow and polars read it, which share no code. That the rows are right is tested with the other formats: here they are compared. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { sql } from 'drizzle-orm';
import { v7 } from 'uuid';
import { afterAll, beforeAll, expect, test, type TestContext } from 'vitest';
import { checkpoints, results } from '../../src/db/tables/index.ts';
import type { JsonObject } from '../../src/domain/job-spec.ts';
import { pythonEnvironment, type PythonEnvironment } from '../support/python-environment.ts';
import { exportTest, INSTALL_TIMEOUT_MS, NOTEBOOK_PACKAGES, type ExportTest, type QueryParameters } from './export-support.ts';

/** Called with a Parquet and an Arrow file; prints what the first holds, and fails where the second holds something else. */
const COMPARE = `
import json, sys, polars, pyarrow as pa, pyarrow.parquet as pq
file = pq.ParquetFile(sys.argv[1])
table, other = file.read(), pa.ipc.open_stream(sys.argv[2]).read_all()
table.validate(full=True)
plain = lambda table: [[(name, repr(value)) for name, value in row.items()] for row in table.to_pylist()]
assert plain(table) == plain(other), "pyarrow"
frame = polars.read_parquet(sys.argv[1])
assert frame.columns == table.column_names and len(frame) == len(table)
read = [[(name, repr(value)) for name, value in row.items()] for row in frame.with_columns(polars.col(polars.Datetime).dt.convert_time_zone("UTC")).to_dicts()]
normal = lambda rows: [[(name, text.replace("zoneinfo.ZoneInfo(key='UTC')", "UTC").replace("<UTC>", "UTC").replace("datetime.timezone.utc", "UTC")) for name, text in row] for row in rows]
assert normal(read) == normal(plain(table)), "polars"
print(json.dumps({"rows": len(table), "groups": file.metadata.num_row_groups, "types": {field.name: str(field.type) for field in table.schema},
  "dictionaries": [file.metadata.schema.column(index).name for index in range(len(file.metadata.schema)) if file.metadata.num_row_groups and file.metadata.row_group(0).column(index).has_dictionary_page]}))`;

const READ_TIMEOUT_MS = 120_000;

let fixture: ExportTest;
let environment: PythonEnvironment;
let folder: string;

beforeAll(async () => {
  fixture = await exportTest();
  environment = await pythonEnvironment('notebook', NOTEBOOK_PACKAGES);
  folder = await mkdtemp(join(tmpdir(), 'expgraph-parquet-'));
}, INSTALL_TIMEOUT_MS);
afterAll(async () => {
  await fixture.http.stop();
  await rm(folder, { recursive: true, force: true });
});

async function compared(context: TestContext, path: string, parameters: QueryParameters = {}): Promise<{ rows: number; groups: number; types: Record<string, string>; dictionaries: string[] }> {
  const python = `${environment.bin ?? context.skip(environment.unavailable)}/python`;
  const files = ['parquet', 'arrow'].map((format) => join(folder, `table.${format}`));
  for (const [index, format] of ['parquet', 'arrow'].entries()) await writeFile(files[index]!, await fixture.read(`${path}.${format}`, parameters));
  const { stdout } = await promisify(execFile)(python, ['-c', COMPARE, ...files]);
  return JSON.parse(stdout);
}

test('histories: every point in the order of the other formats, NaN, infinities and -0, odd names, moments in UTC', async (context) => {
  expect(await compared(context, `job/${fixture.jobIds[0]}/metrics`, { attempts: 'all' })).toEqual({
    rows: 8, groups: 1, dictionaries: ['job_id', 'key'], types: { job_id: 'string', key: 'string', step: 'int64', time: 'timestamp[ms, tz=UTC]', value: 'double', attempt: 'int32' },
  });
  const { rows, groups } = await compared(context, `sweep/${fixture.sweepId}/metrics`, { to_step: '999' });
  expect(rows).toBe(31 * 1_000 + 6);
  expect(groups).toBe(2);
}, READ_TIMEOUT_MS);

test('a table without rows has its columns', async (context) => {
  expect(await compared(context, `job/${fixture.jobIds[5]}/metrics`)).toMatchObject({ rows: 0, groups: 0, types: { step: 'int64' } });
}, READ_TIMEOUT_MS);

test('results and checkpoints: what is missing, texts, lists, flags, whole numbers beyond 32 bits, and values of several types', async (context) => {
  const { database } = fixture.http;
  const [first, second] = fixture.jobIds as [string, string];
  await database.execute(sql`update jobs set state = 'COMPLETED', tags = '{a,"b, c"}', config = ${JSON.stringify({ mixed: 1, on: true, wide: 2 ** 40, name: 'größe' })}::jsonb where id = ${first}`);
  await database.execute(sql`update jobs set state = 'COMPLETED', config = '{"mixed": "one", "half": 0.5}' where id = ${second}`);
  const finishedAt = new Date('2026-03-01T12:00:00.000Z');
  await database.insert(results).values([first, second].map((jobId, index) => ({ jobId, metrics: (index === 0 ? { loss: 0.25 } : {}) as JsonObject, artifacts: [], finishedAt })));
  await database.insert(checkpoints).values(['a', 'b'].map((name, index) => ({
    jobId: first, path: `/scratch/${name}.pt`, id: v7(), attemptNumber: 1, state: 'COMPLETE' as const, layout: 'PLAIN' as const, step: index === 0 ? null : 7, epoch: null,
    sizeBytes: 2 ** 40, fileCount: 1, aliases: index === 0 ? [] : ['last', 'best'], writtenAt: finishedAt,
  })));
  expect(await compared(context, `experiment/${fixture.experimentId}/results`)).toMatchObject({
    rows: 2, groups: 1, types: { 'tags': 'list<element: string>', 'config.mixed': 'string', 'config.on': 'bool', 'config.wide': 'int64', 'config.half': 'double', 'metrics.loss': 'double', 'finished_at': 'timestamp[ms, tz=UTC]' },
  });
  expect(await compared(context, `job/${first}/checkpoints`)).toMatchObject({ rows: 2, types: { step: 'int64', size_bytes: 'int64', aliases: 'list<element: string>', epoch: 'double' } });
}, READ_TIMEOUT_MS);

test('goes on after a row as a file of its own', async (context) => {
  const [after] = (await fixture.read(`job/${fixture.jobIds[2]}/metrics.jsonl`, { from_step: '90000', to_step: '90000' })).toString().split('\n');
  expect(await compared(context, `job/${fixture.jobIds[2]}/metrics`, { after: after! })).toMatchObject({ rows: 9_999 });
}, READ_TIMEOUT_MS);

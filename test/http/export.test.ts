import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { tableFromIPC } from 'apache-arrow';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { pythonEnvironment } from '../support/python-environment.ts';
import { exportTest, INSTALL_TIMEOUT_MS, lines, momentOf, NOTEBOOK_PACKAGES, ODD_KEY, type ExportTest } from './export-support.ts';

const READ_TIMEOUT_MS = 120_000;

let fixture: ExportTest;
let experimentId: string;
let jobIds: string[];
beforeAll(async () => {
  fixture = await exportTest();
  ({ experimentId, jobIds } = fixture);
});
afterAll(() => fixture.http.stop());

describe('metrics', () => {
  test('JSON lines hold the effective value of each step exactly, by job, key and step', async () => {
    const [job, other] = jobIds as [string, string];
    const response = await fixture.get(`experiment/${experimentId}/metrics.jsonl`, { filter: JSON.stringify({ ids: [job, other] }) });
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'content-type': 'application/jsonl', 'cache-control': 'no-store', 'accept-ranges': 'none', 'content-disposition': 'attachment; filename="baseline-metrics.jsonl"',
    });
    const rows = (await response.text()).split('\n');
    expect(rows.pop()).toBe('');
    const parsed = rows.map((row) => JSON.parse(row));
    expect(parsed.map(({ job_id }) => job_id)).toEqual([...Array.from({ length: 6 }, () => job), other]);
    expect(parsed.filter(({ key, job_id }) => key === 'loss' && job_id === job)).toEqual([
      { job_id: job, key: 'loss', step: 0, time: momentOf(2), value: 0.25, attempt: 2 },
      { job_id: job, key: 'loss', step: 1, time: momentOf(1), value: 'NaN', attempt: 1 },
      { job_id: job, key: 'loss', step: 2, time: momentOf(3), value: '-Infinity', attempt: 3 },
      { job_id: job, key: 'loss', step: 3, time: momentOf(3), value: -0, attempt: 3 },
      { job_id: job, key: 'loss', step: 9_007_199_254_740_991, time: momentOf(3), value: 5e-324, attempt: 3 },
    ]);
    expect(parsed.filter(({ key }) => key === ODD_KEY)).toEqual([{ job_id: job, key: ODD_KEY, step: 7, time: momentOf(1), value: 0.1, attempt: 1 }]);
    expect(parsed.filter(({ job_id }) => job_id === other)).toEqual([{ job_id: other, key: 'loss', step: 1, time: momentOf(1), value: 1.7976931348623157e308, attempt: 1 }]);
  });

  test('all attempts come when they are asked for', async () => {
    const rows = lines(await fixture.read(`job/${jobIds[0]}/metrics.jsonl`, { keys: 'loss', attempts: 'all' }));
    expect(rows.map(({ step, attempt, value }) => [step, attempt, value])).toEqual([
      [0, 1, 0.5], [0, 2, 0.25], [1, 1, 'NaN'], [2, 1, 'Infinity'], [2, 3, '-Infinity'], [3, 3, -0], [9_007_199_254_740_991, 3, 5e-324],
    ]);
  });

  test("Python's csv reads what was logged, whatever the names hold", async () => {
    const body = await fixture.read(`job/${jobIds[0]}/metrics.csv`);
    const program = 'import csv, json, sys; print(json.dumps(list(csv.reader(open(0, encoding="utf-8", newline=""), strict=True))))';
    const run = promisify(execFile)('python3', ['-c', program]);
    run.child.stdin!.end(body);
    const [header, ...rows] = JSON.parse((await run).stdout) as string[][];
    expect(header).toEqual(['job_id', 'key', 'step', 'time', 'value', 'attempt']);
    const row = (key: string, step: string, attempt: number, value: string): string[] => [jobIds[0]!, key, step, momentOf(attempt), value, String(attempt)];
    expect(rows).toHaveLength(6);
    expect(rows).toEqual(expect.arrayContaining([
      row('loss', '0', 2, '0.25'), row('loss', '1', 1, 'NaN'), row('loss', '2', 3, '-inf'), row('loss', '3', 3, '-0'), row('loss', '9007199254740991', 3, '5e-324'), row(ODD_KEY, '7', 1, '0.1'),
    ]));
    expect(body.toString().endsWith('\r\n')).toBe(true);
  });

  test('Arrow holds a history of 100,000 points exactly, each step once', async () => {
    const table = tableFromIPC(await fixture.read(`job/${jobIds[2]}/metrics.arrow`));
    expect(table.schema.fields.map(({ name, type }) => `${name}: ${type}`)).toEqual([
      'job_id: Dictionary<Int32, Utf8>', 'key: Dictionary<Int32, Utf8>', 'step: Int64', 'time: Timestamp<MILLISECOND, UTC>', 'value: Float64', 'attempt: Int32',
    ]);
    expect(table.numRows).toBe(100_000);
    expect(new Set(table.getChild('key')!)).toEqual(new Set(['long']));
    const [steps, values, attempts] = ['step', 'value', 'attempt'].map((name) => table.getChild(name)!.toArray()) as [BigInt64Array, Float64Array, Int32Array];
    expect(steps.every((step, index) => step === BigInt(index))).toBe(true);
    expect(values.every((value, index) => value === index / 7)).toBe(true);
    expect(attempts.every((attempt) => attempt === 2)).toBe(true);
    expect(table.batches.length).toBeGreaterThan(1);
  });

  test('Arrow holds many series of several jobs, in the order of the rows of JSON lines', async () => {
    const table = tableFromIPC(await fixture.read(`sweep/${fixture.sweepId}/metrics.arrow`));
    const rows = lines(await fixture.read(`experiment/${experimentId}/metrics.jsonl`));
    expect(table.numRows).toBe(100_000 + 30 * 4_000 + (30 * 31) / 2 + 7);
    const [jobs, keys] = ['job_id', 'key'].map((name) => [...table.getChild(name)!]);
    const steps = table.getChild('step')!.toArray() as BigInt64Array;
    expect(rows.length).toBe(table.numRows);
    expect(rows.every(({ job_id, key, step }, index) => job_id === jobs![index] && key === keys![index] && BigInt(step) === steps[index])).toBe(true);
  });

  test('pyarrow, pandas and polars read the stream', async (context) => {
    const environment = await pythonEnvironment('notebook', NOTEBOOK_PACKAGES);
    const program = `
import io, json, sys, polars, pyarrow as pa
body = sys.stdin.buffer.read()
table = pa.ipc.open_stream(body).read_all()
table.validate(full=True)
frame = table.to_pandas()
other = polars.read_ipc_stream(io.BytesIO(body))
print(json.dumps({"types": [str(field.type) for field in table.schema], "rows": [len(frame), len(other)], "sum": [frame.step.sum().item(), other["step"].sum()],
  "keys": [sorted(set(frame.key)), sorted(other["key"].cast(str).unique())], "time": [str(frame.time.max()), str(other["time"].max())]}))`;
    const run = promisify(execFile)(`${environment.bin ?? context.skip(environment.unavailable)}/python`, ['-c', program]);
    run.child.stdin!.end(await fixture.read(`experiment/${experimentId}/metrics.arrow`, { to_step: '5000' }));
    const keys = [ODD_KEY, 'loss', 'long', ...Array.from({ length: 30 }, (_, index) => `key/${index + 1}`)].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    const count = 6 + 5_001 + 30 * 4_000 + (30 * 31) / 2;
    const sum = Array.from({ length: 30 }, (_, index) => 4_001 + index).reduce((all, length) => all + (length * (length - 1)) / 2, (5_000 * 5_001) / 2 + 0 + 1 + 2 + 3 + 7 + 1);
    expect(JSON.parse((await run).stdout)).toEqual({
      types: ['dictionary<values=string, indices=int32, ordered=0>', 'dictionary<values=string, indices=int32, ordered=0>', 'int64', 'timestamp[ms, tz=UTC]', 'double', 'int32'],
      rows: [count, count], sum: [sum, sum], keys: [keys, keys], time: ['2025-10-09 10:16:40+00:00', '2025-10-09 10:16:40+00:00'],
    });
  }, INSTALL_TIMEOUT_MS);

  test('keys, steps and the filter of the queries narrow it', async () => {
    const steps = async (path: string, parameters: Record<string, string | string[]>) => lines(await fixture.read(`${path}/metrics.jsonl`, parameters)).map(({ key, step }) => `${key} ${step}`);
    expect(await steps(`job/${jobIds[3]}`, { keys: ['key/2', 'key/10', 'none'], from_step: '3999', to_step: '4000' })).toEqual(['key/10 3999', 'key/10 4000', 'key/2 3999', 'key/2 4000']);
    expect(await steps(`sweep/${fixture.sweepId}`, { filter: JSON.stringify({ config: [{ key: 'seed', in: [2, 6] }], createdAt: { from: '2020-01-01T00:00:00Z' } }) })).toEqual(['loss 1']);
    expect(await steps(`experiment/${experimentId}`, { filter: JSON.stringify({ metrics: [{ key: 'loss', lt: 1 }] }) })).toEqual([]);
    expect(await steps(`job/${jobIds[0]}`, { filter: JSON.stringify({ ids: [jobIds[1]] }) })).toEqual([]);
    expect(tableFromIPC(await fixture.read(`job/${jobIds[5]}/metrics.arrow`)).numRows).toBe(0);
    expect((await fixture.read(`job/${jobIds[5]}/metrics.csv`)).toString()).toBe('job_id,key,step,time,value,attempt\r\n');
  });

  test.each(['effective', 'all'])('goes on after any row (%s attempts)', async (attempts) => {
    const whole = (await fixture.read(`experiment/${experimentId}/metrics.jsonl`, { attempts })).toString().split('\n').slice(0, -1);
    for (const index of [0, 5, 6, 50_005, 100_006, whole.length - 1]) {
      const rest = await fixture.read(`experiment/${experimentId}/metrics.jsonl`, { attempts, after: whole[index]! });
      expect(Buffer.compare(rest, Buffer.from(whole.slice(index + 1).map((line) => `${line}\n`).join('')))).toBe(0);
    }
  }, READ_TIMEOUT_MS);
});

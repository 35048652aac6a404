/** A job that leaves whatever can go wrong in its directory, and a good one beside it, on the server as it is started. */
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ensureBuilt } from '../cli/built.ts';
import { until } from '../rig/processes.ts';
import { testDatabase, type TestDatabase } from '../support/database.ts';
import type { TestClient } from '../support/graphql-client.ts';
import { memoryBytes } from '../support/process-memory.ts';
import { openServerFolder, startServerProcess, type ServerProcess } from '../support/server-process.ts';

const SCRIPT = join(import.meta.dirname, 'hostile_job.py');
const DEADLINE_MS = 120_000;
/** Objects and texts must fit into this, or the server dies. The line alone, as a text, would not. */
const MAX_HEAP_MIB = 192;
/** With the bytes that are read, which lie outside of the heap, and what the runtime keeps for itself. */
const MAX_GROWTH_BYTES = 384 * 1024 * 1024;
const SUBMIT = 'mutation ($input: SubmitJobInput!) { submitJob(input: $input) { job { id } userErrors { message } } }';
const ODD_KEY = 'a key/größe "m²".зеркало 🧪';

/** What becomes of the job's mistakes. */
const DROPPED: Record<string, number> = {
  'a line of metrics.jsonl is not valid JSON': 1, 'a line of metrics.jsonl is not valid UTF-8': 1, 'a line of metrics.jsonl is not a JSON object': 1,
  'a line of metrics.jsonl has a negative step': 1, 'a line of metrics.jsonl has a step that is not a whole number': 1,
  'a line of metrics.jsonl has a step beyond 9007199254740991, where whole numbers are no longer exact': 1,
  'a line of metrics.jsonl is longer than 1048576 bytes': 1, 'a value in metrics.jsonl has a key of more than 256 characters': 1, 'a value in metrics.jsonl has an empty key': 1,
  'the rest of a TensorBoard file behind a damaged record': 1, 'a line of an MLflow metric is not valid UTF-8': 1, 'a line of a trackio fragment is not valid UTF-8': 1,
  'a trainer_state.json without a readable log_history': 2, 'a line of events.jsonl is not valid UTF-8': 1, 'a line of checkpoints.jsonl is not valid UTF-8': 1,
};

let folder: string;
let db: TestDatabase;
let server: ServerProcess;
let client: TestClient;
beforeAll(async () => {
  await ensureBuilt();
  folder = await openServerFolder({ maxActiveJobs: 2, pollSeconds: { min: 0.2, max: 0.5 } });
  db = await testDatabase();
  server = await startServerProcess(folder, { DATABASE_URL: db.url.replace('@/', '@localhost/'), NODE_OPTIONS: `--max-old-space-size=${MAX_HEAP_MIB}` });
  client = await server.client();
}, DEADLINE_MS);
afterAll(async () => {
  await client?.close();
  server?.kill('SIGTERM');
  await server?.ended;
  await db?.drop();
  await rm(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
}, DEADLINE_MS);

async function submit(name: string, command: string[]): Promise<string> {
  const { submitJob } = await client.request(SUBMIT, { input: { project: 'tests', experiment: 'hostile', name, command, config: {} } });
  expect(submitJob.userErrors).toEqual([]);
  return submitJob.job.id;
}

const go = (number: number): Promise<void> => writeFile(join(folder, `go-${number}`), '');

async function jobNow(id: string): Promise<any> {
  return (await client.request(`query ($id: ID!) { job(id: $id) { state unlistedFileCount droppedLineCount dropped { reason count } metrics { key pointCount steps values times nonFinite { step value }
    last { step value } } checkpoints { path state fileCount } } }`, { id })).job;
}

/** Values by step, of each metric; those that are no number as their name. */
function curves(job: any): Record<string, Record<number, number | string>> {
  return Object.fromEntries(job.metrics.map(({ key, steps, values, nonFinite }: any) => {
    const named = new Map(nonFinite.map(({ step, value }: any) => [step, value]));
    return [key, Object.fromEntries(steps.map((step: number, index: number) => [step, values[index] ?? named.get(step)]))];
  }));
}

test('costs bounded memory, is told of by reason and count, and takes nothing from the others', async () => {
  const before = await memoryBytes(server.pid, 'VmRSS');
  const good = await submit('good', ['sh', '-c', 'for step in 1 2 3; do echo "{\\"step\\":$step,\\"loss\\":$step}" >> "$EXPGRAPH_METRICS"; done; until [ -e "$1" ]; do sleep 0.1; done', 'sh', join(folder, 'go-6')]);
  const hostile = await submit('hostile', ['python3', SCRIPT, folder]);
  const lossIs = (expected: Record<number, number | string>) => async () => JSON.stringify(curves(await jobNow(hostile))['loss']) === JSON.stringify(expected);

  await until('the first lines', DEADLINE_MS, lossIs({ 0: 1, 1: 'NAN', 2: 3, 3: 4, 4: 5 }));
  const first = await jobNow(hostile);
  expect(curves(first)).toMatchObject({ odd: { 1: 'NEGATIVE_INFINITY' }, kept: { 5: 1 }, [ODD_KEY]: { 5: 1 } });
  expect(first.metrics.find(({ key }: any) => key === 'loss').times.slice(2)).toEqual(['1970-01-01T00:00:00.000Z', '9999-12-31T23:59:59.000Z', '2020-01-01T00:00:00.000Z']);
  await go(1);
  await until('the file that was cut off', DEADLINE_MS, lossIs({ 0: 1, 1: 'NAN', 2: 3, 3: 4, 4: 6 }));
  await go(2);
  await until('the file that was emptied and is longer than it was', DEADLINE_MS, lossIs({ 0: 1, 1: 'NAN', 2: 3, 3: 4, 4: 6, 5: 6.25, 6: 6.5 }));
  await go(3);
  await until('the file that was replaced', DEADLINE_MS, lossIs({ 0: 1, 1: 'NAN', 2: 3, 3: 4, 4: 6, 5: 6.25, 6: 7 }));
  await go(4);
  await until('the line after the one of 200 MB', DEADLINE_MS, lossIs({ 0: 1, 1: 'NAN', 2: 3, 3: 4, 4: 6, 5: 6.25, 6: 7, 7: 8 }));
  await go(5);
  await until('the checkpoint of many files', DEADLINE_MS, async () => (await jobNow(hostile)).unlistedFileCount > 70_000);
  await go(6);
  await until('both jobs to end', DEADLINE_MS, async () => (await jobNow(hostile)).state === 'COMPLETED' && (await jobNow(good)).state === 'COMPLETED');

  // A trainer_state.json that is no JSON may be just being written; only the last look can tell.
  await until('the last look', DEADLINE_MS, async () => (await jobNow(hostile)).dropped.some(({ reason }: any) => reason.startsWith('a trainer_state.json')));
  const ended = await jobNow(hostile);
  expect(Object.fromEntries(ended.dropped.map(({ reason, count }: any) => [reason, count]))).toEqual(DROPPED);
  expect(ended.droppedLineCount).toBe(Object.values(DROPPED).reduce((sum, count) => sum + count));
  expect(curves(ended)).toEqual({
    loss: { 0: 1, 1: 'NAN', 2: 3, 3: 4, 4: 6, 5: 6.25, 6: 7, 7: 8 }, odd: { 1: 'NEGATIVE_INFINITY' }, kept: { 5: 1 }, [ODD_KEY]: { 5: 1 }, csv: { 1: 0.5 },
  });
  expect(Object.fromEntries(ended.checkpoints.map(({ path, state }: any) => [path.slice(path.indexOf('/checkpoints/') + 13), state]))).toEqual({
    'step_1.safetensors': 'PARTIAL', 'step_5': 'COMPLETE', 'step_9.pt': 'COMPLETE', 'checkpoint-7': 'COMPLETE',
  });
  expect(await jobNow(good)).toMatchObject({ dropped: [], unlistedFileCount: 0, metrics: [{ key: 'loss', pointCount: 3 }] });
  expect(await memoryBytes(server.pid, 'VmHWM') - before).toBeLessThan(MAX_GROWTH_BYTES);
}, 3 * DEADLINE_MS);

import { finished } from 'node:stream/promises';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { writePoints } from '../../src/db/write/metrics.ts';
import { rollUpStretch } from '../../src/db/write/roll-up.ts';
import { exportTest, lines, type ExportTest } from './export-support.ts';

let at: ExportTest;
let rolledUp: string;
beforeAll(async () => {
  at = await exportTest();
  rolledUp = at.jobIds[4]!;
  await at.http.database.execute(sql`insert into projects (name, exact_days, points_per_series) values ('vision', 1, 500)`);
  await at.http.database.execute(sql`update jobs set state = 'COMPLETED', finished_at = now() - interval '2 days', harvested_at = now()`);
  const steps = Array.from({ length: 12_000 }, (_, step) => step);
  const column = { steps, values: steps, times: steps.map((step) => 1.76e12 + step) };
  await at.http.database.transaction((transaction) => writePoints(transaction, [{ jobId: rolledUp, attemptNumber: 1, series: [{ key: 'rolled', ...column }, { key: 'whole', ...column }] }]));
  const series = { jobId: rolledUp, seriesNumber: 1, pointsPerSeries: 500 };
  while (await at.http.database.transaction((transaction) => rollUpStretch(transaction, series)));
});
afterAll(() => at?.http.stop());

describe('of a history that was rolled up', () => {
  test('no exact export is given, but the jobs are named, and what would be right', async () => {
    const response = await at.get(`experiment/${at.experimentId}/metrics.csv`);
    expect(response.status).toBe(409);
    expect(await response.json()).toEqual({ errors: [{ message: expect.stringMatching(new RegExp(`^rolled_up: of 1 of the jobs only a roll-up is left.*${rolledUp}.*rolled_up=include`)), extensions: expect.objectContaining({ code: 'CONFLICT' }) }] });
    expect((await at.get(`experiment/${at.experimentId}/metrics.csv`, { rolled_up: 'maybe' })).status).toBe(400);
  });

  test('an export that was under way is broken off, for it would lack points', async () => {
    const series = { jobId: at.jobIds[5]!, seriesNumber: 1, pointsPerSeries: 500 };
    const steps = Array.from({ length: 400_000 }, (_, step) => step);
    await at.http.database.transaction((transaction) => writePoints(transaction, [{ jobId: series.jobId, attemptNumber: 1, series: [{ key: 'long', steps, values: steps, times: steps.map((step) => 1.76e12 + step) }] }]));
    const response = await at.begin(`job/${series.jobId}/metrics.csv`);
    while (await at.http.database.transaction((transaction) => rollUpStretch(transaction, series)));
    await expect(finished(response.resume())).rejects.toMatchObject({ code: 'ECONNRESET' });
  });

  test('what is left is given to whoever asks for it', async () => {
    const rows = lines(await at.read(`job/${rolledUp}/metrics.jsonl`, { rolled_up: 'include', keys: 'rolled' }));
    expect(rows.length).toBeLessThan(4_000);
    expect([rows[0], rows.at(-1)]).toMatchObject([{ step: 0, value: 0 }, { step: 11_999, value: 11_999 }]);
  });

  test('other metrics, other jobs and the steps that are whole are given as ever', async () => {
    expect(lines(await at.read(`job/${rolledUp}/metrics.jsonl`, { keys: 'whole' }))).toHaveLength(12_000);
    expect(lines(await at.read(`job/${rolledUp}/metrics.jsonl`, { keys: 'rolled', from_step: '11990' }))).toHaveLength(10);
    expect(lines(await at.read(`job/${at.jobIds[1]}/metrics.jsonl`))).toHaveLength(1);
    expect((await at.get(`experiment/${at.experimentId}/checkpoints.csv`)).status).toBe(200);
  });

  test('the bulk endpoint takes the points that are whole, and names the job for the others', async () => {
    const body = [{ job_id: rolledUp, key: 'rolled', steps: [1, 2, 20_000], values: [0, 0, 0] }].map((line) => `${JSON.stringify(line)}\n`).join('');
    const response = await fetch(`${at.http.url}/ingest/metrics`, { method: 'POST', body, headers: { 'content-type': 'application/x-ndjson', authorization: `Bearer ${at.http.tokens.writer}` } });
    expect(await response.json()).toEqual({ pointCount: 1, rejectedCount: 1, rejected: [{ jobId: rolledUp, message: expect.stringContaining('only a roll-up is left') }] });
  });
});

/** The main job on the embedded defaults: real processes on this machine. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { collectUntil } from '../support/graphql-client.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

const trainer = fileURLToPath(new URL('../../examples/train.py', import.meta.url));

export const SUBMIT_SWEEP = `mutation ($input: SubmitSweepInput!) {
  submitSweep(input: $input) { sweep { id } jobs { name job { id } } duplicates { existingJobId } userErrors { field message code } } }`;

describe('a sweep on the local executor', () => {
  let server: TestServer;
  beforeAll(async () => { server = await startTestServer(); });
  afterAll(async () => { await server.stop(); });

  test('is submitted, watched to its end and asked for the checkpoint to load', async () => {
    const { submitSweep } = await server.client.request(SUBMIT_SWEEP, {
      input: {
        project: 'spirals', experiment: 'local', name: 'lr', command: ['python3', trainer, '{overrides}'],
        objective: { metric: 'val/loss', goal: 'MIN' },
        space: { base: { train: { epochs: 2 } }, grid: [{ key: 'optim.lr', values: [0.01, 0.1] }], seeds: { values: [1, 2] } },
      },
    });
    expect(submitSweep.userErrors).toEqual([]);
    expect(submitSweep.jobs).toHaveLength(4);
    const progress = await collectUntil<{ total: number; done: number }>(server.client,
      'subscription ($id: ID!) { sweepProgress(sweepId: $id) { total done } }', { id: submitSweep.sweep.id },
      (values) => values.at(-1)?.done === 4, 60_000);
    expect(progress.at(-1)).toMatchObject({ total: 4, done: 4 });

    const { experiment } = await server.client.request(`{ experiment(project: "spirals", name: "local") {
      leaderboard(groupBy: ["optim.lr"]) { n mean standardDeviation bestValue step checkpoint { path state } }
      jobs { edges { node { state metrics(keys: ["val/loss"]) { pointCount last { value checkpoint { path } } } result { metrics } bestCheckpoint { path } attempts { exitCode state elapsedSeconds logTail } } } } } }`);
    expect(experiment.leaderboard).toHaveLength(2);
    expect(existsSync(experiment.leaderboard[0].checkpoint.path)).toBe(true);
    for (const { node } of experiment.jobs.edges) {
      expect(node).toMatchObject({ state: 'COMPLETED', attempts: [{ state: 'COMPLETED', exitCode: 0 }] });
      expect(existsSync(node.bestCheckpoint.path)).toBe(true);
      expect(Object.keys(node.result.metrics)).toContain('val/loss');
    }
  });

  test('a last line without a newline counts, and a log of one endless line shows its end', async () => {
    const program = 'open("metrics.jsonl", "w").write(\'{"step":1,"loss":1}\\n{"step":2,"loss":0.5}\'); print("x" * 100000 + "the end")';
    const { submitJob } = await server.client.request('mutation ($input: SubmitJobInput!) { submitJob(input: $input) { job { id } userErrors { message } } }', {
      input: { project: 'tests', experiment: 'unfinished', command: ['python3', '-c', program], config: {} },
    });
    expect(submitJob.userErrors).toEqual([]);
    const id = submitJob.job.id;
    await collectUntil<{ toState: string }>(server.client, 'subscription ($id: ID!) { jobEvents(filter: { jobIds: [$id], kinds: [JOB_STATE_CHANGED] }, after: "0") { toState } }', { id },
      (values) => values.at(-1)?.toState === 'COMPLETED', 30_000);
    const { job } = await server.client.request('query ($id: ID!) { job(id: $id) { result { metrics } attempts { logTail } } }', { id });
    expect(job.result.metrics).toEqual({ loss: 0.5 });
    expect(job.attempts[0].logTail).toMatch(/xthe end\s*$/);
  });
});

/** A job that runs out of GPU memory mends itself, on the whole server with real processes. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { collectUntil } from '../support/graphql-client.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({ configText: 'failureRules:\n  - class: SITE_RULE\n    patterns: ["gremlins in rack \\\\d+"]\n    advice: Ask the site about its racks.\n' });
});
afterAll(async () => { await server.stop(); });

const SUBMIT = 'mutation ($input: SubmitJobInput!) { submitJob(input: $input) { job { id } userErrors { field message } } }';

async function submit(input: Record<string, unknown>): Promise<string> {
  const { submitJob } = await server.client.request(SUBMIT, { input: { project: 'spirals', experiment: 'retry', ...input } });
  expect(submitJob.userErrors).toEqual([]);
  return submitJob.job.id;
}

/** Waits until as many jobs have come to a state. */
async function reached(state: 'COMPLETED' | 'FAILED', count: number): Promise<void> {
  await collectUntil(server.client, 'subscription ($states: [JobState!]) { jobEvents(after: "0", filter: { toStates: $states }) { cursor } }', { states: [state] },
    (events) => events.length === count, 60_000);
}

test('is tried again as a new job with half the batch, which succeeds; the failure is explained', async () => {
  const script = 'if [ "$EXPGRAPH_CONFIG_batch_size" -gt 16 ]; then echo "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB" >&2; exit 1; fi';
  const old = await submit({
    name: 'big', command: ['bash', '-c', script], config: { batch_size: 32, gradient_accumulation: 1 },
    retryPolicy: [{ failureClass: 'CUDA_OUT_OF_MEMORY', maxRetries: 2, backoffSeconds: 1 }],
  });
  await reached('COMPLETED', 1);
  const { job } = await server.client.request(`query ($id: ID!) { job(id: $id) {
    state retryPolicy { failureClass maxRetries configChanges { key multiply } } attempts { failure { class evidence advice } }
    retriedBy { name state config tags priority retryOf { id } attempts { failure { class } } } } }`, { id: old });
  expect(job).toMatchObject({
    state: 'FAILED',
    retryPolicy: [{ failureClass: 'CUDA_OUT_OF_MEMORY', maxRetries: 2, configChanges: [{ key: 'batch_size', multiply: 0.5 }, { key: 'gradient_accumulation', multiply: 2 }] }],
    attempts: [{ failure: { class: 'CUDA_OUT_OF_MEMORY', evidence: 'torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB' } }],
    retriedBy: [{
      name: 'big > batch_size=16 gradient_accumulation=2', state: 'COMPLETED', config: { batch_size: 16, gradient_accumulation: 2 },
      tags: ['retry', 'CUDA_OUT_OF_MEMORY'], priority: 150, retryOf: { id: old }, attempts: [{ failure: null }],
    }],
  });
});

test('the rules of the site explain what only the site knows', async () => {
  const id = await submit({ name: 'site', command: ['bash', '-c', 'echo "Gremlins in rack 7" >&2; exit 3'], config: { n: 1 } });
  await reached('FAILED', 2);
  const { job } = await server.client.request('query ($id: ID!) { job(id: $id) { retriedBy { id } attempts { failure { class evidence advice } } } }', { id });
  expect(job).toEqual({ retriedBy: [], attempts: [{ failure: { class: 'SITE_RULE', evidence: 'Gremlins in rack 7', advice: 'Ask the site about its racks.' } }] });
});

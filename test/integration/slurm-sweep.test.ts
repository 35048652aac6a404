/** The main job on two real SLURM clusters over real SSH: what happens to jobs, watched by a real graphql-ws client. */
import { existsSync } from 'node:fs';
import { chmod, copyFile, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { ensureRig, killNode, rigUnavailableReason, startNode, type Rig } from '../rig/rig.ts';
import { collectUntil } from '../support/graphql-client.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

const TRAINER = fileURLToPath(new URL('../../examples/train.py', import.meta.url));
const SUBMIT_SWEEP = `mutation ($input: SubmitSweepInput!) {
  submitSweep(input: $input) { sweep { id } jobs { job { id } } userErrors { field message code } } }`;
const SUBMIT_JOB = `mutation ($input: SubmitJobInput!) { submitJob(input: $input) { job { id } userErrors { field message code } } }`;
const JOB = `query ($id: ID!) { job(id: $id) {
  state stateReason storagePath attempts { state reason exitCode signal slurmJobId nodeList elapsedSeconds maxRssBytes logTail script failure { class evidence } } } }`;
const EVENTS = `subscription ($filter: JobEventFilter) { jobEvents(filter: $filter, after: "0") { cursor toState job { id } } }`;
/** One test kills this node, and with it whatever runs there. */
const DYING_NODE = 'a4';
const AWAY_FROM_THE_DYING_NODE = { sbatchOptions: { exclude: DYING_NODE } };
const TERMINAL = ['COMPLETED', 'FAILED', 'CANCELLED', 'LOST'];

interface StateEvent {
  cursor: string;
  toState: string;
  job: { id: string };
}

const skipReason = rigUnavailableReason();
if (skipReason !== null && process.env['CI']) throw new Error(`in CI the cluster tests must run: ${skipReason}`);

describe.skipIf(skipReason !== null)(`jobs on two SLURM clusters${skipReason === null ? '' : ` (skipped: ${skipReason})`}`, () => {
  let rig: Rig;
  let server: TestServer;
  beforeAll(async () => {
    rig = await ensureRig();
    for (const { rootDirectory } of rig.clusters) {
      await copyFile(TRAINER, join(rootDirectory, 'train.py'));
      await chmod(join(rootDirectory, 'train.py'), 0o755);
    }
    server = await startTestServer({ configPath: rig.configPath });
  }, 180_000);
  afterAll(async () => { await server?.stop(); }, 60_000);

  /** Every state that the jobs were announced in, until as many of them as `count` are in one of the states. */
  async function statesUntil(filter: object, states: string[], count: number, deadlineMs: number): Promise<Map<string, string[]>> {
    const reached = (events: StateEvent[]): boolean => new Set(events.filter((event) => states.includes(event.toState)).map((event) => event.job.id)).size >= count;
    const events = await collectUntil<StateEvent>(server.client, EVENTS, { filter: { ...filter, kinds: ['JOB_STATE_CHANGED'] } }, reached, deadlineMs);
    const byJob = new Map<string, string[]>();
    for (const { job, toState } of events) byJob.set(job.id, [...byJob.get(job.id) ?? [], toState]);
    return byJob;
  }

  async function submitJob(name: string, input: object): Promise<string> {
    const { submitJob: payload } = await server.client.request(SUBMIT_JOB, {
      input: { project: 'tests', experiment: 'single', name, config: { name }, cluster: 'alpha', resources: AWAY_FROM_THE_DYING_NODE, ...input },
    });
    expect(payload.userErrors).toEqual([]);
    return payload.job.id;
  }

  const end = async (jobId: string, deadlineMs = 60_000): Promise<any> => {
    await statesUntil({ jobIds: [jobId] }, TERMINAL, 1, deadlineMs);
    return (await server.client.request(JOB, { id: jobId })).job;
  };

  test('a sweep of 50 over both clusters: every state in order, results joined with checkpoints that exist', async () => {
    const sweepIds: string[] = [];
    for (const [index, cluster] of ['alpha', 'beta'].entries()) {
      const { submitSweep } = await server.client.request(SUBMIT_SWEEP, {
        input: {
          project: 'tests', experiment: 'fifty', name: `lr x seed on ${cluster}`, cluster,
          command: ['python3', join(rig.clusters[index]!.rootDirectory, 'train.py'), '{overrides}'], objective: { metric: 'val/loss', goal: 'MIN' },
          space: {
            base: { train: { epochs: 1 } }, grid: [{ key: 'optim.lr', values: [0.01, 0.03, 0.1, 0.3, 1] }],
            seeds: { values: Array.from({ length: 5 }, (_, seed) => index * 5 + seed) },
          },
        },
      });
      expect(submitSweep.userErrors).toEqual([]);
      sweepIds.push(submitSweep.sweep.id);
    }
    const states = await statesUntil({ sweepIds }, TERMINAL, 50, 150_000);
    expect(states.size).toBe(50);
    for (const path of states.values()) expect(path).toEqual(['QUEUED', 'SUBMITTING', 'PENDING', 'RUNNING', 'COMPLETED']);

    const { results, submissions } = await server.client.request(`query ($filter: ResultFilter) {
      results(filter: $filter, first: 100) { edges { node { metrics bestCheckpoint { path uri state step metrics(keys: ["val/loss"]) { value } }
        job { cluster { name kind } attempts { slurmJobId exitCode nodeList state elapsedSeconds } } } } }
      submissions(first: 50) { edges { node { cluster { name } taskCount state slurmJobId script } } } }`,
    { filter: { jobs: { sweepIds } } });
    expect(results.edges).toHaveLength(50);
    for (const { node } of results.edges) {
      expect(node.metrics['val/loss']).toBeTypeOf('number');
      expect(existsSync(node.bestCheckpoint.path)).toBe(true);
      expect(node.bestCheckpoint.uri).toMatch(/^ssh:\/\//);
      expect(node.job.attempts).toMatchObject([{ slurmJobId: expect.stringMatching(/^\d+(_\d+)?$/), exitCode: 0, state: 'COMPLETED' }]);
    }
    const batches = submissions.edges.map((edge: any) => edge.node).filter((node: any) => node.script.includes('fifty'));
    expect(batches.filter((batch: any) => batch.cluster.name === 'alpha').map((batch: any) => batch.taskCount)).toEqual([25]);
    expect(batches.filter((batch: any) => batch.cluster.name === 'beta').reduce((sum: number, batch: any) => sum + batch.taskCount, 0)).toBe(25);
    expect(batches.filter((batch: any) => batch.cluster.name === 'beta').length).toBeGreaterThan(1);
  }, 180_000);

  test.concurrent('a job that fails shows its exit code, the line that says why and the end of its log', async () => {
    const job = await end(await submitJob('fails', { command: ['python3', '-c', 'print("working"); raise ValueError("no such optimiser")'] }));
    expect(job).toMatchObject({ state: 'FAILED', stateReason: expect.stringMatching(/^exit code 1(; ValueError: no such optimiser)?$/) });
    expect(job.attempts[0]).toMatchObject({ state: 'FAILED', exitCode: 1, failure: { evidence: expect.stringContaining('no such optimiser') } });
    expect(job.attempts[0].logTail).toContain('working');
    expect(job.attempts[0].script).toContain('#SBATCH');
  }, 90_000);

  test.concurrent('a running job that is cancelled ends as CANCELLED', async () => {
    const jobId = await submitJob('is cancelled', { command: ['sleep', '600'] });
    await statesUntil({ jobIds: [jobId] }, ['RUNNING'], 1, 60_000);
    await server.client.request('mutation ($input: CancelJobsInput!) { cancelJobs(input: $input) { userErrors { message } } }', { input: { ids: [jobId] } });
    expect(await end(jobId)).toMatchObject({ state: 'CANCELLED', attempts: [{ state: 'CANCELLED' }] });
  }, 150_000);

  test.concurrent('a job that runs into its time limit ends as TIMEOUT with the limit in words', async () => {
    const job = await end(await submitJob('times out', { command: ['sleep', '600'], resources: { ...AWAY_FROM_THE_DYING_NODE, timeLimitMinutes: 1 } }), 150_000);
    expect(job).toMatchObject({ state: 'FAILED', stateReason: 'the time limit of 1 min was reached', attempts: [{ state: 'TIMEOUT', failure: { class: 'TIME_LIMIT' } }] });
  }, 180_000);

  test.concurrent('a job whose node dies ends as NODE_FAIL with the node named', async () => {
    const jobId = await submitJob('loses its node', {
      command: ['sleep', '600'], resources: { sbatchOptions: { nodelist: DYING_NODE, 'no-requeue': '' } },
    });
    await statesUntil({ jobIds: [jobId] }, ['RUNNING'], 1, 60_000);
    await killNode(rig, 'alpha', DYING_NODE);
    try {
      expect(await end(jobId, 120_000)).toMatchObject({ state: 'FAILED', attempts: [{ state: 'NODE_FAIL', failure: { class: 'NODE_FAILURE' } }], stateReason: expect.stringContaining(DYING_NODE) });
    } finally {
      await startNode(rig, 'alpha', DYING_NODE);
    }
  }, 240_000);

  test.concurrent('a held job waits in the cluster queue until it is released', async () => {
    const jobId = await submitJob('is held', { command: ['true'], held: true });
    await statesUntil({ jobIds: [jobId] }, ['HELD'], 1, 30_000);
    await server.client.request('mutation ($input: ReleaseJobsInput!) { releaseJobs(input: $input) { userErrors { message } } }', { input: { ids: [jobId] } });
    expect(await end(jobId)).toMatchObject({ state: 'COMPLETED' });
  }, 90_000);

  test.concurrent('a pending job is held, released and cancelled in the queue of the cluster', async () => {
    const jobId = await submitJob('waits', { command: ['true'], resources: { sbatchOptions: { begin: 'now+1hour' } } });
    const change = (mutation: string): Promise<unknown> => server.client.request(
      `mutation ($ids: [ID!]) { ${mutation}(input: { ids: $ids }) { userErrors { message } } }`, { ids: [jobId] });
    const reason = async (expected: string): Promise<void> => {
      await vi.waitFor(async () => {
        const { job } = await server.client.request(JOB, { id: jobId });
        expect(job.attempts[0]?.reason).toBe(expected);
      }, { timeout: 100_000, interval: 200 });
    };
    await reason('BeginTime');
    await change('holdJobs');
    await reason('JobHeldUser');
    await change('releaseJobs');
    await reason('BeginTime');
    await change('cancelJobs');
    expect(await end(jobId)).toMatchObject({ state: 'CANCELLED', attempts: [{ state: 'CANCELLED' }] });
  }, 400_000);

  test.concurrent('one waiting job of a sweep is cancelled, the others of its array wait on', async () => {
    const { submitSweep } = await server.client.request(SUBMIT_SWEEP, {
      input: {
        project: 'tests', experiment: 'array', name: 'waits', cluster: 'alpha', command: ['true'], space: { seeds: { values: [1, 2, 3] } },
        resources: { sbatchOptions: { begin: 'now+1hour' } },
      },
    });
    const ids: string[] = submitSweep.jobs.map(({ job }: { job: { id: string } }) => job.id);
    await statesUntil({ jobIds: ids }, ['PENDING'], 3, 60_000);
    await server.client.request('mutation ($ids: [ID!]) { cancelJobs(input: { ids: $ids }) { userErrors { message } } }', { ids: [ids[1]] });
    expect(await end(ids[1]!)).toMatchObject({ state: 'CANCELLED' });
    const states = await Promise.all(ids.map(async (id) => (await server.client.request(JOB, { id })).job.state));
    expect(states).toEqual(['PENDING', 'CANCELLED', 'PENDING']);
    await server.client.request('mutation ($ids: [ID!]) { cancelJobs(input: { ids: $ids }) { userErrors { message } } }', { ids: [ids[0], ids[2]] });
    await statesUntil({ jobIds: ids }, ['CANCELLED'], 3, 60_000);
  }, 150_000);

  test.concurrent('values reach the job byte for byte, and no shell ever reads them', async () => {
    const nasty = { quotes: `'"'"'`, newline: 'a\nb\n', command: '$(touch pwned)', backticks: '`touch pwned`', unicode: 'ü€𝄞', backslash: '\\n\\', dollar: '$HOME' };
    const program = 'import json,os,sys; json.dump({"argv": sys.argv[1:], "config": json.load(open(os.environ["EXPGRAPH_CONFIG"])), "env": os.environ["EXPGRAPH_CONFIG_command"]}, open("result.json.tmp","w")); os.rename("result.json.tmp","seen.json")';
    const jobId = await submitJob('nasty values', { config: nasty, command: ['python3', '-c', program, '{overrides}'] });
    const job = await end(jobId);
    expect(job.state).toBe('COMPLETED');
    const seen = JSON.parse(await readFile(join(job.storagePath, 'seen.json'), 'utf8'));
    expect(seen.config).toEqual(nasty);
    expect(seen.env).toBe(nasty.command);
    expect([...seen.argv].sort()).toEqual(Object.entries(nasty).map(([key, value]) => `${key}=${value}`).sort());
    expect(existsSync(join(job.storagePath, 'pwned'))).toBe(false);
  }, 90_000);

  test.concurrent('clusters show their partitions, GPUs and limits live', async () => {
    const { clusters } = await server.client.request('{ clusters { name kind reachable lastError partitions { name gpus { type total } } } }');
    expect(clusters).toMatchObject([
      { name: 'alpha', kind: 'SLURM', reachable: true, lastError: null },
      { name: 'beta', kind: 'SLURM', reachable: true, lastError: null },
    ]);
    expect(clusters[0].partitions.find((partition: any) => partition.name === 'gpu').gpus).toMatchObject([{ type: 'rtx8000', total: 8 }]);
    expect(clusters[1].partitions.find((partition: any) => partition.name === 'gpu').gpus).toMatchObject([{ type: 'a100', total: 8 }]);
  });
});

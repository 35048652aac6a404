/** The emergency brake on jobs that wait in the queue of a real SLURM cluster. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ensureRig, rigUnavailableReason, slurm, type Rig } from '../rig/rig.ts';
import { until } from '../rig/processes.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

const CLUSTER = 'alpha';
/** Two arrays. */
const JOBS = 2_000;
const SUBMIT = `mutation ($input: SubmitSweepInput!) { submitSweep(input: $input) { sweep { id } userErrors { field message } } }`;
const CANCEL = `mutation ($filter: JobFilter!, $dryRun: Boolean) {
  cancelJobs(input: { filter: $filter, dryRun: $dryRun }) { changedCount matchedCount userErrors { message } } }`;
const STATES = `query ($sweepId: ID!) { sweep(id: $sweepId) { progress { states { state count } } } }`;
const SUBMISSIONS = `query { submissions(first: 10) { nodes { slurmJobId taskCount } } }`;

const skipReason = rigUnavailableReason();
if (skipReason !== null && process.env['CI']) throw new Error(`in CI the cluster tests must run: ${skipReason}`);

describe.skipIf(skipReason !== null)(`many waiting jobs on a SLURM cluster${skipReason === null ? '' : ` (skipped: ${skipReason})`}`, () => {
  let rig: Rig;
  let server: TestServer;
  beforeAll(async () => {
    rig = await ensureRig();
    server = await startTestServer({ configPath: rig.configPath });
  }, 180_000);
  afterAll(async () => { await server?.stop(); }, 60_000);

  async function commandCount(command: string): Promise<number> {
    const answer = await fetch(server.url.replace(/graphql$/, 'metrics'), { headers: { authorization: `Bearer ${server.token}` } });
    return Number(new RegExp(`expgraph_cluster_commands_total\\{cluster="${CLUSTER}",command="${command}"\\} (\\d+)`).exec(await answer.text())?.[1] ?? 0);
  }

  async function countIn(sweepId: string, wanted: string): Promise<number> {
    const { sweep } = await server.client.request(STATES, { sweepId });
    return sweep.progress.states.find(({ state }: { state: string }) => state === wanted)?.count ?? 0;
  }

  test(`${JOBS} jobs are cancelled by a filter with one scancel and without a hold for each, and all end as CANCELLED`, async () => {
    const { submitSweep } = await server.client.request(SUBMIT, {
      input: {
        project: 'tests', experiment: 'brake', name: 'waits', cluster: CLUSTER, command: ['true'],
        space: { seeds: { values: Array.from({ length: JOBS }, (_, seed) => seed) } }, resources: { sbatchOptions: { begin: 'now+1hour' } },
      },
    });
    expect(submitSweep.userErrors).toEqual([]);
    const sweepId: string = submitSweep.sweep.id;
    await until('all jobs to wait in the queue of the cluster', 120_000, async () => await countIn(sweepId, 'PENDING') === JOBS);
    const filter = { sweepIds: [sweepId], states: ['PENDING'] };
    expect((await server.client.request(CANCEL, { filter, dryRun: true })).cancelJobs).toEqual({ changedCount: JOBS, matchedCount: JOBS, userErrors: [] });
    expect(await commandCount('scancel')).toBe(0);
    expect((await server.client.request(CANCEL, { filter })).cancelJobs).toMatchObject({ changedCount: JOBS, userErrors: [] });
    await until('all jobs to be CANCELLED', 120_000, async () => await countIn(sweepId, 'CANCELLED') === JOBS);
    expect(await commandCount('scancel')).toBe(1);
    const { submissions } = await server.client.request(SUBMISSIONS);
    expect(submissions.nodes).toHaveLength(2);
    const ids: string[] = submissions.nodes.map(({ slurmJobId }: { slurmJobId: string }) => slurmJobId);
    expect(await slurm(rig, CLUSTER, ['squeue', '-h', '-j', ids.join(',')])).toBe('');
    // A hold would have made a record of each task: accounting has one for each array.
    const accounted = await slurm(rig, CLUSTER, ['sacct', '-n', '-P', '-X', '--format=JobID', '-j', ids.join(',')]);
    expect(accounted.trim().split('\n').length).toBeLessThanOrEqual(ids.length);
  }, 300_000);
});

/** A server whose database knows nothing of the jobs that a real SLURM cluster runs under names of ours. */
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ensureRig, rigCluster, rigUnavailableReason, slurm, type Rig } from '../rig/rig.ts';
import { until } from '../rig/processes.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

const CLUSTER = 'alpha';
const SUBMIT = `mutation ($input: SubmitSweepInput!) { submitSweep(input: $input) { sweep { id } jobs { jobId name } userErrors { field message } } }`;
const JOBS = `query ($filter: JobFilter) { jobs(filter: $filter, first: 50) { nodes { id name state stateReason config tags priority storagePath sweep { id }
  experiment { project name } resources { timeLimitMinutes sbatchOptions } metrics(keys: ["loss"]) { values } result { metrics } checkpoints { step }
  attempts { number state slurmJobId exitCode logTail script } } } }`;
const ORPHANS = `query ($cluster: String) { orphans(cluster: $cluster, first: 500) { nodes { id kind cluster { name } slurmJobId token taskCount state since submittedAt nodeList
  project experiment originProblem possibleActions explanation job { id } attempt { id } wish } } }`;
const RESOLVE = `mutation ($input: ResolveOrphansInput!) { resolveOrphans(input: $input) { possibleCount orphans { possible message orphan { id wish wishedBy } } userErrors { field message code } } }`;

interface Orphan {
  id: string;
  kind: string;
  slurmJobId: string;
  token: string;
  taskCount: number;
  state: string;
  project: string | null;
  experiment: string | null;
  originProblem: string | null;
  possibleActions: string[];
}

const skipReason = rigUnavailableReason();
if (skipReason !== null && process.env['CI']) throw new Error(`in CI the cluster tests must run: ${skipReason}`);

describe.skipIf(skipReason !== null)(`jobs that the database does not know${skipReason === null ? '' : ` (skipped: ${skipReason})`}`, () => {
  // Others may be using the same cluster: only what belongs to this project is ours.
  const project = `orphans-${randomBytes(4).toString('hex')}`;
  let rig: Rig;
  let server: TestServer;
  let gate: string;
  let foreign: string;
  let submitted: { jobId: string; name: string }[];
  beforeAll(async () => {
    rig = await ensureRig();
    gate = `${rigCluster(rig, CLUSTER).rootDirectory}/${project}.gate`;
    server = await startTestServer({ configPath: rig.configPath });
  }, 180_000);
  afterAll(async () => {
    await server?.stop();
    if (foreign !== undefined) await slurm(rig, CLUSTER, ['scancel', foreign]);
  }, 60_000);

  async function submit(experiment: string, input: object): Promise<{ jobId: string; name: string }[]> {
    const { submitSweep } = await server.client.request(SUBMIT, { input: { project, experiment, name: experiment, cluster: CLUSTER, ...input } });
    expect(submitSweep.userErrors).toEqual([]);
    return submitSweep.jobs;
  }
  const jobs = async (filter: object = {}): Promise<any[]> => (await server.client.request(JOBS, { filter: { project, ...filter } })).jobs.nodes;
  const orphans = async (): Promise<Orphan[]> => (await server.client.request(ORPHANS, { cluster: CLUSTER })).orphans.nodes;
  const ours = async (): Promise<Orphan[]> => (await orphans()).filter((orphan) => orphan.project === project);
  const resolve = async (input: object) => (await server.client.request(RESOLVE, { input })).resolveOrphans;

  test('are shown with where they belong, and stay as they are until somebody decides', async () => {
    const train = `echo "{\\"step\\":1,\\"loss\\":0.5}" >> "$EXPGRAPH_METRICS"
      [ "$EXPGRAPH_CONFIG_seed" = 0 ] || while [ ! -e '${gate}' ]; do sleep 0.2; done
      echo x > "$EXPGRAPH_CHECKPOINTS_DIR/step=2.ckpt"; echo "{\\"step\\":2,\\"loss\\":0.25}" >> "$EXPGRAPH_METRICS"; echo done`;
    submitted = await submit('runs', { command: ['sh', '-c', train], space: { seeds: { values: [0, 1, 2] } }, tags: ['kept'], priority: 700, resources: { timeLimitMinutes: 7 } });
    await submit('waits', { command: ['true'], space: { seeds: { values: [0, 1, 2, 3] } }, resources: { sbatchOptions: { begin: 'now+1hour' } } });
    await until('one job to have ended and the others to run or wait', 90_000, async () => {
      const states = (await jobs()).map(({ state }) => state as string).sort();
      return states.join() === ['COMPLETED', 'PENDING', 'PENDING', 'PENDING', 'PENDING', 'RUNNING', 'RUNNING'].join();
    });
    // A token of the same form, on a script that is none of ours.
    foreign = (await slurm(rig, CLUSTER, ['sbatch', '--parsable', '--job-name=eg-abcdefghij-foreign', '--begin=now+1hour'], { stdin: '#!/bin/sh\ntrue\n' })).trim();
    await server.stop();
    server = await startTestServer({ configPath: rig.configPath });
    await until('both arrays to be orphans', 180_000, async () => (await ours()).length === 2);
    await until('the foreign job to be looked into', 180_000, async () => (await orphans()).some(({ slurmJobId, originProblem }) => slurmJobId === foreign && originProblem !== null));
    const [runs, waits] = (await ours()).sort((a, b) => (a.experiment! < b.experiment! ? -1 : 1));
    expect(runs).toMatchObject({
      kind: 'UNKNOWN_JOB', cluster: { name: CLUSTER }, experiment: 'runs', state: 'RUNNING', taskCount: 2, nodeList: expect.stringMatching(/^a\d/), token: expect.stringMatching(/^eg-/),
      since: expect.any(String), submittedAt: expect.any(String), originProblem: null, possibleActions: ['ADOPT', 'CANCEL', 'IGNORE'], job: null, attempt: null, wish: null,
    });
    expect(waits).toMatchObject({ experiment: 'waits', state: 'PENDING', taskCount: 4, nodeList: null });
    expect((await orphans()).find(({ slurmJobId }) => slurmJobId === foreign)).toMatchObject({
      project: null, originProblem: expect.stringMatching(/does not say which jobs/), possibleActions: ['CANCEL', 'IGNORE'],
    });
    expect(await jobs()).toEqual([]);
  }, 480_000);

  test('are neither adopted nor cancelled by a dry run, and what is impossible is refused with what is possible', async () => {
    const filter = { project };
    expect(await resolve({ filter, action: 'CANCEL', dryRun: true })).toMatchObject({ possibleCount: 2, userErrors: [], orphans: [{ possible: true, orphan: { wish: null } }, { possible: true }] });
    expect(await resolve({ filter, action: 'MARK_LOST' })).toMatchObject({ possibleCount: 0, orphans: [{ possible: false, message: expect.stringMatching(/not lost/) }, {}] });
    const { id } = (await orphans()).find(({ slurmJobId }) => slurmJobId === foreign)!;
    expect(await resolve({ ids: [id], action: 'ADOPT' })).toMatchObject({
      orphans: null, userErrors: [{ field: ['action'], code: 'CONFLICT', message: expect.stringMatching(/impossible.*Possible: CANCEL, IGNORE/) }],
    });
    expect((await ours()).map(({ state }) => state).sort()).toEqual(['PENDING', 'RUNNING']);
  }, 60_000);

  test('that are adopted complete with their results, also those that had ended before', async () => {
    const runs = (await ours()).find(({ experiment }) => experiment === 'runs')!;
    expect(await resolve({ ids: [runs.id], action: 'ADOPT' })).toMatchObject({ possibleCount: 1, orphans: [{ possible: true, orphan: { wish: 'ADOPT', wishedBy: expect.any(String) } }], userErrors: [] });
    await until('the array to be tracked', 60_000, async () => (await jobs()).length === 3 && (await ours()).length === 1);
    await writeFile(gate, '');
    await until('its jobs to be COMPLETED', 120_000, async () => (await jobs()).every(({ state, attempts: [attempt] }) => state === 'COMPLETED' && attempt.logTail !== null));
    const adopted = await jobs();
    expect(adopted.map(({ id }) => id as string).sort()).toEqual(submitted.map(({ jobId }) => jobId).sort());
    for (const job of adopted) {
      expect(job).toMatchObject({
        name: submitted.find(({ jobId }) => jobId === job.id)!.name, tags: ['kept'], priority: 700, sweep: null, experiment: { project, name: 'runs' }, resources: { timeLimitMinutes: 7 },
        metrics: [{ values: [0.5, 0.25] }], result: { metrics: { loss: 0.25 } }, checkpoints: [{ step: 2 }],
        attempts: [{ number: 1, state: 'COMPLETED', slurmJobId: expect.stringMatching(new RegExp(`^${runs.slurmJobId}_[012]$`)), exitCode: 0, logTail: 'done\n', script: expect.stringContaining('#!/bin/bash') }],
      });
    }
    expect(adopted.map(({ config }) => config.seed as number).sort()).toEqual([0, 1, 2]);
  }, 240_000);

  test('that are cancelled leave the cluster and the list', async () => {
    const [{ slurmJobId } = { slurmJobId: '' }] = await ours();
    expect(await resolve({ filter: { project }, action: 'CANCEL' })).toMatchObject({ possibleCount: 1, userErrors: [] });
    await until('the orphan to be gone', 60_000, async () => (await ours()).length === 0);
    expect(await slurm(rig, CLUSTER, ['squeue', '-h', '-j', slurmJobId])).toBe('');
    expect((await orphans()).map((orphan) => orphan.slurmJobId)).toContain(foreign);
  }, 120_000);
});

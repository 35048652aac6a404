/** What can be asked for on checkpoints, and what is told of it. */
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import * as tables from '../../src/db/tables/index.ts';
import { openFixture, seedExperiment, seedJobs, shownErrors, type Fixture, type SeedJob } from './fixture.ts';

let fixture: Fixture;
beforeAll(async () => { fixture = await openFixture(); });
afterAll(() => fixture?.close());

const PAYLOAD = `request { id action where requestedBy state totalBytes freedBytes counts { state count } checkpoints { state problem freedBytes checkpoint { step } } }
  checkpointCount bytesToFree checkpoints { step } kept { checkpoint { step } reason message } keptCounts { reason count bytes } userErrors { field message code }`;

async function mutate(name: string, input: object): Promise<any> {
  const type = `${name[0]!.toUpperCase()}${name.slice(1)}Input`;
  const result = await fixture.run(`mutation ($input: ${type}!) { ${name}(input: $input) { ${PAYLOAD} } }`, { input });
  expect(shownErrors(result)).toEqual([]);
  return result.data[name];
}
const archive = (input: object) => mutate('archiveCheckpoints', input);

const objective = { objectiveMetric: 'loss', objectiveGoal: 'MIN' as const };
/** A job that has completed, with a checkpoint of 10 bytes at each of these steps; its loss is least at step 2. */
async function seed(job: SeedJob = {}, values: Parameters<typeof seedExperiment>[1] = objective): Promise<{ experimentId: string; jobId: string; ids: string[] }> {
  const experimentId = await seedExperiment(fixture.db, values);
  const [jobId = ''] = await seedJobs(fixture.db, experimentId, [{
    state: 'COMPLETED', attempts: [{}], metrics: { loss: [[1, 0.5], [2, 0.1], [3, 0.4], [4, 0.3]] }, checkpoints: [1, 2, 3, 4].map((step) => ({ step })), ...job,
  }]);
  const rows = await fixture.db.database.select().from(tables.checkpoints).where(sql`job_id = ${jobId}`).orderBy(tables.checkpoints.step);
  return { experimentId, jobId, ids: rows.map(({ id }) => id) };
}
const requestCount = async (): Promise<number> => (await fixture.db.database.select().from(tables.checkpointRequests)).length;

describe('archiveCheckpoints', () => {
  it('says what would go, what is kept and why, and how many bytes that frees, and records nothing in a dry run', async () => {
    const { experimentId } = await seed({ checkpoints: [{ step: 1 }, { step: 2 }, { step: 3, sizeBytes: 700 }, { step: 4 }, { step: 5, state: 'PARTIAL' }, { step: 6, state: 'DELETED' }] });
    const before = await requestCount();
    const payload = await archive({ filter: { experimentIds: [experimentId] }, keep: { rule: 'BEST_AND_LAST' }, dryRun: true });
    expect(payload).toMatchObject({
      request: null, checkpointCount: 2, bytesToFree: 710, checkpoints: [{ step: 1 }, { step: 3 }], userErrors: [],
      kept: [{ checkpoint: { step: 2 }, reason: 'BEST', message: 'it is the best of its job' }, { checkpoint: { step: 4 }, reason: 'LAST' }, { checkpoint: { step: 5 }, reason: 'STATE' }],
      keptCounts: [{ reason: 'BEST', count: 1, bytes: 10 }, { reason: 'LAST', count: 1, bytes: 10 }, { reason: 'STATE', count: 1, bytes: 10 }],
    });
    expect(await requestCount()).toBe(before);
  });

  it('records the request, once for each checkpoint', async () => {
    const { experimentId } = await seed();
    const input = { filter: { experimentIds: [experimentId] }, keep: { rule: 'EVERY_N', everyNSteps: 4 }, where: 'SLURM_JOB', resources: { cpus: 8 }, action: 'DELETE' };
    const { request, checkpointCount } = await archive(input);
    expect(checkpointCount).toBe(1);
    expect(request).toEqual({
      id: expect.any(String), action: 'DELETE', where: 'SLURM_JOB', requestedBy: 'admin', state: 'PENDING', totalBytes: 10, freedBytes: 0,
      counts: [{ state: 'PENDING', count: 1 }, { state: 'RUNNING', count: 0 }, { state: 'DONE', count: 0 }, { state: 'FAILED', count: 0 }, { state: 'CANCELLED', count: 0 }],
      checkpoints: [{ state: 'PENDING', problem: null, freedBytes: null, checkpoint: { step: 3 } }],
    });
    expect(await archive(input)).toMatchObject({ request: null, checkpointCount: 0, kept: [{}, {}, { checkpoint: { step: 3 }, reason: 'ASKED_BEFORE' }, {}] });
    const result = await fixture.run('query ($id: ID!) { checkpointRequest(id: $id) { state } checkpointRequests(first: 1) { totalCount nodes { id } } nothing: checkpointRequest(id: "x") { id } }', { id: request.id });
    expect(result.data).toMatchObject({ checkpointRequest: { state: 'PENDING' }, checkpointRequests: { nodes: [{ id: request.id }] }, nothing: null });
    const { data } = await fixture.run('mutation ($id: ID!) { cancelCheckpointRequest(input: { id: $id }) { cancelledCount request { state checkpoints { problem } } userErrors { code } } }', { id: request.id });
    expect(data.cancelCheckpointRequest).toEqual({ cancelledCount: 1, request: { state: 'CANCELLED', checkpoints: [{ problem: 'cancelled by admin' }] }, userErrors: [] });
    const again = await fixture.run('mutation ($id: ID!) { cancelCheckpointRequest(input: { id: $id }) { cancelledCount userErrors { field code message } } }', { id: request.id });
    expect(again.data.cancelCheckpointRequest).toEqual({ cancelledCount: 0, userErrors: [{ field: ['id'], code: 'CONFLICT', message: 'nothing is left to withdraw: the request is over (1 CANCELLED)' }] });
  });

  it('takes the metric that says what best means, and asks for one where nothing does', async () => {
    const { experimentId } = await seed({ metrics: { accuracy: [[1, 0.9], [2, 0.1]] } }, {});
    const filter = { experimentIds: [experimentId] };
    expect(await archive({ filter, keep: { rule: 'BEST_AND_LAST' }, dryRun: true })).toMatchObject({ userErrors: [{ field: ['keep', 'metric'], code: 'BAD_USER_INPUT', message: expect.stringMatching(/what best means/) }] });
    expect(await archive({ filter, keep: { rule: 'BEST_AND_LAST', metric: 'accuracy', goal: 'MAX' }, dryRun: true })).toMatchObject({ checkpoints: [{ step: 2 }, { step: 3 }], userErrors: [] });
    expect(await archive({ filter, keep: { rule: 'NONE' }, dryRun: true })).toMatchObject({ checkpointCount: 4 });
  });

  it('is not told half of what best means, nor a metric that no job has', async () => {
    const { experimentId } = await seed({ metrics: { loss: [[1, 0.5]], accuracy: [[1, 0.9]] } });
    const keeping = async (keep: object) => (await archive({ filter: { experimentIds: [experimentId] }, keep: { rule: 'BEST_AND_LAST', ...keep }, dryRun: true })).userErrors;
    expect(await keeping({ metric: 'loss' })).toEqual([]);
    expect(await keeping({ goal: 'MAX' })).toMatchObject([{ field: ['keep', 'goal'], message: expect.stringMatching(/both `metric` and `goal`.* MIN of "loss"/) }]);
    expect(await keeping({ metric: 'accuracy' })).toMatchObject([{ field: ['keep', 'metric'], message: expect.stringMatching(/both `metric` and `goal`/) }]);
    expect(await keeping({ metric: 'accurcy', goal: 'MAX' })).toMatchObject([{ field: ['keep', 'metric'], message: 'no job has a metric "accurcy"; did you mean accuracy?' }]);
  });

  it('looks for the metric in all jobs that are meant, however many have it not', async () => {
    const without = await seedExperiment(fixture.db, {});
    await seedJobs(fixture.db, without, Array.from({ length: 1000 }, () => ({ state: 'COMPLETED' as const, metrics: { loss: [[1, 0.5]] }, checkpoints: [{ step: 1 }] })));
    const { experimentId } = await seed({ metrics: { seldom: [[1, 0.5], [2, 0.1]] } });
    const keep = { rule: 'BEST_AND_LAST', metric: 'seldom', goal: 'MIN' };
    const asked = await archive({ filter: { experimentIds: [without, experimentId] }, keep, dryRun: true });
    expect(asked).toMatchObject({ userErrors: [], checkpoints: [{ step: 1 }, { step: 3 }] });
    const { userErrors } = await archive({ filter: { experimentIds: [without] }, keep, dryRun: true });
    expect(userErrors).toMatchObject([{ field: ['keep', 'metric'], message: expect.stringMatching(/no job has a metric "seldom"/) }]);
  });

  it('leaves alone what another job has among its checkpoints, too', async () => {
    const { ids, jobId } = await seed();
    await seed({ checkpoints: [{ path: `/scratch/me/${jobId}/checkpoints/0.ckpt`, isDeclared: true }] });
    expect(await archive({ ids, dryRun: true })).toMatchObject({ checkpointCount: 3, kept: [{ checkpoint: { step: 1 }, reason: 'SHARED' }] });
  });

  it.each([
    ['without a selection', { keep: { rule: 'NONE' } }, [], /give ids or filter/],
    ['with nothing at all', { dryRun: true }, [], /give ids or filter/],
    ['with resources on the login node', { ids: ['x'], resources: { cpus: 8 } }, ['resources'], /where: SLURM_JOB/],
    ['with two selections', { ids: ['x'], filter: { states: ['COMPLETED'] } }, [], /not both/],
    ['with a filter that means every job', { filter: {}, keep: { rule: 'NONE' } }, ['filter'], /every job/],
    ['with a filter and no rule', { filter: { states: ['COMPLETED'] } }, ['keep'], /BEST_AND_LAST, EVERY_N, NONE/],
    ['with ids and a rule', { ids: ['x'], keep: { rule: 'NONE' } }, ['keep'], /goes with a filter/],
    ['with EVERY_N of no steps', { filter: { states: ['COMPLETED'] }, keep: { rule: 'EVERY_N' } }, ['keep', 'everyNSteps'], /whole number/],
    ['with steps for another rule', { filter: { states: ['COMPLETED'] }, keep: { rule: 'NONE', everyNSteps: 5 } }, ['keep', 'everyNSteps'], /EVERY_N only/],
    ['of a project that is not there', { filter: { project: 'nowhere' }, keep: { rule: 'NONE' } }, ['filter', 'project'], /no project/],
    ['of a checkpoint that is not there', { ids: ['01980000-0000-7000-8000-000000000001'] }, ['ids'], /no checkpoint/],
  ])('is refused %s', async (_, input, field, message) => {
    expect(await archive(input)).toMatchObject({ request: null, userErrors: [{ field, message: expect.stringMatching(message) }] });
  });

  it('is refused in a SLURM job on a cluster that has no SLURM, and with resources that no cluster has', async () => {
    const { ids } = await seed({ cluster: 'local' });
    expect(await archive({ ids, where: 'SLURM_JOB' })).toMatchObject({ userErrors: [{ field: ['where'], message: expect.stringMatching(/has no SLURM/) }] });
    const { ids: others } = await seed();
    expect(await archive({ ids: others, where: 'SLURM_JOB', resources: { cpus: 0 } })).toMatchObject({ userErrors: [{ field: ['resources', 'cpus'] }] });
  });
});

describe('restoreCheckpoints and digestCheckpoints', () => {
  it('mean those that are archived, and those without a digest', async () => {
    const { experimentId } = await seed({ checkpoints: [{ step: 1, state: 'ARCHIVED', archivePath: '/a.zst', archiveBytes: 4 }, { step: 2, contentDigest: 'ab' }, { step: 3 }] });
    const filter = { experimentIds: [experimentId] };
    expect(await mutate('restoreCheckpoints', { filter })).toMatchObject({ checkpoints: [{ step: 1 }], bytesToFree: -6, request: { action: 'RESTORE' } });
    expect(await mutate('digestCheckpoints', { filter })).toMatchObject({ checkpoints: [{ step: 3 }], bytesToFree: 0, request: { action: 'DIGEST' } });
  });
});

describe('an archived checkpoint', () => {
  it('is still the best and the last, and says how to get it back', async () => {
    const { jobId } = await seed({ checkpoints: [
      { step: 1 }, { step: 2, state: 'ARCHIVED', path: "/scratch/me/it's.ckpt", archivePath: "/scratch/me/it's.ckpt.zst", archiveBytes: 3, archivedAt: new Date('2026-01-01T00:00:00Z'), contentDigest: 'ab' },
      { step: 3, state: 'ARCHIVED', path: '/scratch/me/checkpoint-3', archivePath: '/scratch/me/checkpoint-3.tar.gz' },
    ] });
    const { data } = await fixture.run('query ($id: ID!) { job(id: $id) { bestCheckpoint { step state archivePath archiveBytes archivedAt contentDigest restoreCommand } lastCheckpoint { step restoreCommand } checkpoints { restoreCommand } } }', { id: jobId });
    expect(data.job.bestCheckpoint).toEqual({
      step: 2, state: 'ARCHIVED', archivePath: "/scratch/me/it's.ckpt.zst", archiveBytes: 3, archivedAt: new Date('2026-01-01T00:00:00Z'), contentDigest: 'ab',
      restoreCommand: String.raw`zstd -dc -- '/scratch/me/it'\''s.ckpt.zst' > '/scratch/me/it'\''s.ckpt'`,
    });
    expect(data.job.lastCheckpoint).toEqual({ step: 3, restoreCommand: "gzip -dc -- '/scratch/me/checkpoint-3.tar.gz' | tar -xpf - -C '/scratch/me'" });
    expect(data.job.checkpoints[0].restoreCommand).toBeNull();
  });

  it('is not what a new attempt goes on from', async () => {
    const { jobId } = await seed({ checkpoints: [{ step: 1 }, { step: 2, state: 'ARCHIVED' }] });
    const { checkpointsToResume } = await import('../../src/db/read/checkpoints.ts');
    expect((await checkpointsToResume(fixture.db.database, [jobId])).get(jobId)).toMatch(/0\.ckpt$/);
  });

  it('cannot be recorded as such', async () => {
    const { jobId } = await seed();
    const { data } = await fixture.run('mutation ($input: RecordCheckpointInput!) { recordCheckpoint(input: $input) { userErrors { field message } } }', { input: { jobId, path: '/x.pt', state: 'ARCHIVED' } });
    expect(data.recordCheckpoint.userErrors).toEqual([{ field: ['state'], message: 'must be one of WRITING, COMPLETE, PARTIAL, DELETED' }]);
  });
});

it('many requests take as many statements as one', async () => {
  const query = '{ checkpointRequests(first: 100) { nodes { id state totalBytes counts { count } checkpoints(states: [PENDING]) { checkpoint { step job { name } } } } } }';
  const one = await fixture.counted(query.replace('100', '1'));
  for (let index = 0; index < 3; index += 1) await archive({ ids: (await seed()).ids });
  const many = await fixture.counted(query);
  expect(many.result.data.checkpointRequests.nodes.length).toBeGreaterThan(3);
  expect(many.statements).toBe(one.statements);
});

import { v7 } from 'uuid';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import * as tables from '../../src/db/tables/index.ts';
import { openFixture, seedExperiment, seedJobs, shownErrors, type Fixture } from './fixture.ts';

let fixture: Fixture;
beforeAll(async () => { fixture = await openFixture(); });
afterAll(() => fixture?.close());

const ORPHANS = `query ($cluster: String, $kind: OrphanKind, $includeIgnored: Boolean, $first: Int, $after: String) {
  orphans(cluster: $cluster, kind: $kind, includeIgnored: $includeIgnored, first: $first, after: $after) { totalCount pageInfo { hasNextPage endCursor } nodes {
    id kind cluster { name kind } slurmJobId token taskCount state since submittedAt nodeList attemptNumber project experiment originProblem explanation possibleActions
    wish wishedBy wishProblem ignored job { id name } attempt { id number state } } } }`;
const RESOLVE = `mutation ($input: ResolveOrphansInput!) { resolveOrphans(input: $input) { possibleCount
  orphans { possible message orphan { id wish wishedBy wishProblem ignored } } userErrors { field message code } } }`;

async function seed(values: Partial<typeof tables.orphans.$inferInsert> = {}): Promise<string> {
  const id = v7();
  await fixture.db.database.insert(tables.orphans).values({
    id, cluster: 'hpc', kind: 'UNKNOWN_JOB', key: id, token: `eg-${id}`, slurmJobId: '123', state: 'RUNNING', taskCount: 4, nodeList: 'n1,n2', since: new Date('2026-01-02T00:00:00Z'), ...values,
  });
  return id;
}
async function seedMissing(state: 'RUNNING' | 'LOST' = 'RUNNING', values: Partial<typeof tables.orphans.$inferInsert> = {}): Promise<{ id: string; jobId: string }> {
  const [jobId = ''] = await seedJobs(fixture.db, await seedExperiment(fixture.db), [{ state, attempts: [{ state }] }]);
  return { jobId, id: await seed({ kind: 'MISSING_ATTEMPT', state, taskCount: 1, jobId, attemptNumber: 1, ...values }) };
}
async function list(variables: object = {}): Promise<any> {
  const result = await fixture.run(ORPHANS, { ...variables });
  expect(shownErrors(result)).toEqual([]);
  return result.data.orphans;
}
async function resolve(input: object): Promise<any> {
  const result = await fixture.run(RESOLVE, { input });
  expect(shownErrors(result)).toEqual([]);
  return result.data.resolveOrphans;
}
const codes = (payload: any): string[] => payload.userErrors.map(({ code }: { code: string }) => code);

describe('orphans', () => {
  it('say everything that a person needs to decide', async () => {
    const known = await seed({ cluster: 'local', project: 'vision', experiment: 'lr' });
    const unread = await seed({ cluster: 'local' });
    const alien = await seed({ cluster: 'local', originProblem: 'its script is none of ours' });
    const { id: missing, jobId } = await seedMissing('RUNNING', { cluster: 'local' });
    const { nodes, totalCount } = await list({ cluster: 'local' });
    expect(totalCount).toBe(4);
    expect(nodes).toMatchObject([
      {
        id: known, kind: 'UNKNOWN_JOB', cluster: { name: 'local', kind: 'LOCAL' }, slurmJobId: '123', token: `eg-${known}`, taskCount: 4, state: 'RUNNING', since: new Date('2026-01-02T00:00:00Z'), nodeList: 'n1,n2',
        project: 'vision', experiment: 'lr', explanation: expect.stringContaining('vision/lr'), possibleActions: ['ADOPT', 'CANCEL', 'IGNORE'], wish: null, ignored: false, job: null, attempt: null,
      },
      { id: unread, explanation: expect.stringContaining('still to be read'), possibleActions: ['ADOPT', 'CANCEL', 'IGNORE'] },
      { id: alien, explanation: expect.stringContaining('none of ours'), possibleActions: ['CANCEL', 'IGNORE'] },
      { id: missing, kind: 'MISSING_ATTEMPT', job: { id: jobId }, attempt: { number: 1, state: 'RUNNING' }, attemptNumber: 1, explanation: expect.stringContaining('Neither the queue'), possibleActions: ['MARK_LOST', 'IGNORE'] },
    ]);
    expect((await list({ cluster: 'local', kind: 'MISSING_ATTEMPT' })).nodes.map(({ id }: { id: string }) => id)).toEqual([missing]);
    expect((await list({ cluster: 'nowhere' })).nodes).toEqual([]);
  });

  it('are paged, oldest first', async () => {
    const ids = [await seed({ cluster: 'paged', since: new Date('2026-01-03T00:00:00Z') }), await seed({ cluster: 'paged', since: new Date('2026-01-01T00:00:00Z') })];
    const { nodes: [first], pageInfo } = await list({ cluster: 'paged', first: 1 });
    expect([first.id, pageInfo.hasNextPage]).toEqual([ids[1], true]);
    expect((await list({ cluster: 'paged', first: 1, after: pageInfo.endCursor })).nodes).toMatchObject([{ id: ids[0] }]);
  });

  it('take as many statements for many as for one', async () => {
    await seedMissing('RUNNING', { cluster: 'counted' });
    const one = await fixture.counted(ORPHANS, { cluster: 'counted' });
    for (let index = 0; index < 5; index += 1) await seedMissing('RUNNING', { cluster: 'counted' });
    const many = await fixture.counted(ORPHANS, { cluster: 'counted' });
    expect(many.result.data.orphans.nodes).toHaveLength(6);
    expect(many.statements).toBe(one.statements);
  });
});

describe('resolveOrphans', () => {
  it.each([['ADOPT', 'vision/lr'], ['CANCEL', 'all of its 4 tasks']])('records the wish to %s an unknown job, and says what comes of it', async (action, words) => {
    const id = await seed({ project: 'vision', experiment: 'lr', wishProblem: 'of before' });
    expect(await resolve({ ids: [id], action, dryRun: true })).toMatchObject({ possibleCount: 1, userErrors: [], orphans: [{ possible: true, message: expect.stringContaining(words), orphan: { id, wish: null } }] });
    expect(await resolve({ ids: [id.toUpperCase()], action })).toMatchObject({ orphans: [{ orphan: { id, wish: action, wishedBy: 'admin', wishProblem: null, ignored: false } }] });
    const other = action === 'ADOPT' ? 'CANCEL' : 'ADOPT';
    expect(await resolve({ ids: [id], action: other })).toMatchObject({ orphans: [{ orphan: { wish: other } }] });
  });

  it('records the wish to mark a missing attempt as lost', async () => {
    const { id } = await seedMissing();
    expect(await resolve({ ids: [id], action: 'MARK_LOST' })).toMatchObject({ possibleCount: 1, orphans: [{ message: expect.stringContaining('attempt 1 as LOST'), orphan: { wish: 'MARK_LOST' } }] });
  });

  it('leaves ignored ones out of the list and out of filters', async () => {
    const id = await seed({ cluster: 'quiet' });
    expect(await resolve({ filter: { clusters: ['hpc'], tokens: [`eg-${id}`] }, action: 'IGNORE' })).toMatchObject({ possibleCount: 0, orphans: [] });
    expect(await resolve({ ids: [id], action: 'IGNORE' })).toMatchObject({ possibleCount: 1, orphans: [{ orphan: { ignored: true, wish: null } }] });
    expect((await list({ cluster: 'quiet' })).nodes).toEqual([]);
    expect((await list({ cluster: 'quiet', includeIgnored: true })).nodes).toMatchObject([{ id, possibleActions: ['ADOPT', 'CANCEL'] }]);
    expect(await resolve({ filter: { tokens: [`eg-${id}`] }, action: 'CANCEL' })).toMatchObject({ orphans: [] });
    expect(await resolve({ ids: [id], action: 'CANCEL' })).toMatchObject({ possibleCount: 1 });
  });

  it('with a filter does what is possible and says why the rest stays', async () => {
    const experiment = `filtered-${v7()}`;
    const adoptable = await seed({ project: 'p', experiment });
    const alien = await seed({ project: 'p', experiment, originProblem: 'its script is damaged' });
    expect(await resolve({ filter: { project: 'p', experiment, kinds: ['UNKNOWN_JOB'], slurmJobIds: ['123'] }, action: 'ADOPT' })).toMatchObject({
      possibleCount: 1, orphans: [{ possible: true, orphan: { id: adoptable, wish: 'ADOPT' } }, { possible: false, message: 'it cannot be adopted: its script is damaged', orphan: { id: alien, wish: null } }],
    });
  });

  it.each([
    ['ADOPT', 'missing', /nothing to adopt.*Possible: MARK_LOST, IGNORE$/],
    ['CANCEL', 'missing', /nothing to cancel.*Possible: MARK_LOST, IGNORE$/],
    ['MARK_LOST', 'lost', /LOST already; retryJobs.*Possible: IGNORE$/],
    ['MARK_LOST', 'unknown', /not lost.*Possible: ADOPT, CANCEL, IGNORE$/],
    ['ADOPT', 'alien', /cannot be adopted: its script is damaged.*Possible: CANCEL, IGNORE$/],
    ['IGNORE', 'ignored', /ignored already.*Possible: ADOPT, CANCEL$/],
  ])('refuses to %s what is %s, says what is possible, and then does nothing', async (action, what, message) => {
    const fine = action === 'MARK_LOST' ? (await seedMissing()).id : await seed();
    const id = what === 'missing' ? (await seedMissing()).id : what === 'lost' ? (await seedMissing('LOST')).id
      : await seed({ ignored: what === 'ignored', originProblem: what === 'alien' ? 'its script is damaged' : null });
    expect(await resolve({ ids: [fine, id], action })).toEqual({
      orphans: null, possibleCount: 0, userErrors: [{ field: ['action'], code: 'CONFLICT', message: expect.stringMatching(message) }],
    });
    expect(await resolve({ ids: [fine], action, dryRun: true })).toMatchObject({ orphans: [{ orphan: { wish: null, ignored: false } }] });
  });

  it('refuses a selection that is none, unknown ids and unknown clusters', async () => {
    expect(codes(await resolve({ action: 'CANCEL' }))).toEqual(['BAD_USER_INPUT']);
    expect(codes(await resolve({ action: 'CANCEL', filter: {} }))).toEqual(['BAD_USER_INPUT']);
    expect(codes(await resolve({ action: 'CANCEL', filter: { project: 'p' }, ids: [v7()] }))).toEqual(['BAD_USER_INPUT']);
    expect(await resolve({ action: 'CANCEL', ids: ['nonsense', v7()] })).toMatchObject({ userErrors: [{ code: 'NOT_FOUND', field: ['ids'], message: expect.stringContaining('nonsense') }, { code: 'NOT_FOUND' }] });
    expect(await resolve({ action: 'CANCEL', filter: { clusters: ['nowhere'] } })).toMatchObject({ userErrors: [{ code: 'NOT_FOUND', message: expect.stringContaining('hpc') }] });
    expect(codes(await resolve({ action: 'CANCEL', ids: Array.from({ length: 1001 }, () => v7()) }))).toEqual(['LIMIT_EXCEEDED']);
    expect((await resolve({ action: 'CANCEL', ids: Array.from({ length: 30 }, () => v7()) })).userErrors).toHaveLength(21);
  });
});

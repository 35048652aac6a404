import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openFixture, seedExperiment, seedJobs, shownErrors, type Fixture } from './fixture.ts';

let fixture: Fixture;
let experimentId: string;

beforeAll(async () => {
  fixture = await openFixture();
  experimentId = await seedExperiment(fixture.db);
  await seedJobs(fixture.db, experimentId, Array.from({ length: 23 }, (_, index) => ({
    name: `job-${index}`, priority: index % 3, config: { lr: index % 4, ...(index === 7 && { rare: 1 }) }, createdAt: new Date(Date.UTC(2026, 0, 1 + Math.floor(index / 5))),
    finishedAt: index % 2 === 0 ? new Date(Date.UTC(2026, 1, 1 + (index % 5))) : null,
    ...(index % 3 !== 0 && { metrics: { loss: [[1, index / 7]] as [number, number][] } }),
  })));
});
afterAll(() => fixture?.close());

const PAGE = `query ($id: [ID!], $o: [JobOrder!], $first: Int, $after: String) {
  jobs(filter: {experimentIds: $id}, orderBy: $o, first: $first, after: $after) {
    nodes { name } edges { cursor } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } totalCount } }`;

async function page(id: string, orderBy: object[] | null, first: number, after: string | null) {
  const result = await fixture.run(PAGE, { id: [id], o: orderBy, first, after });
  expect(result.errors).toBeUndefined();
  return result.data.jobs;
}

async function allNames(id: string, orderBy: object[] | null, first: number, between: () => Promise<unknown> = async () => undefined): Promise<string[]> {
  const names: string[] = [];
  let after: string | null = null;
  for (;;) {
    const { nodes, pageInfo } = await page(id, orderBy, first, after);
    names.push(...nodes.map((job: { name: string }) => job.name));
    if (!pageInfo.hasNextPage) return names;
    after = pageInfo.endCursor;
    await between();
  }
}

describe('a list in pages', () => {
  it.each([
    ['no order', null],
    ['ties', [{ field: 'PRIORITY', direction: 'DESC' }]],
    ['values that are missing', [{ field: 'FINISHED_AT', direction: 'DESC' }]],
    ['mixed directions', [{ field: 'CONFIG', key: 'lr', direction: 'DESC' }, { field: 'FINISHED_AT' }, { field: 'CREATED_AT', direction: 'DESC' }]],
    ['a metric', [{ field: 'METRIC', key: 'loss' }]],
    ['a configuration value that nearly all lack', [{ field: 'CONFIG', key: 'rare' }]],
    ['states and names', [{ field: 'STATE' }, { field: 'NAME' }]],
  ])('shows every job once, in the order of the whole list, with %s', async (_, orderBy) => {
    const whole = await allNames(experimentId, orderBy, 100);
    expect(whole).toHaveLength(23);
    expect(await allNames(experimentId, orderBy, 4)).toEqual(whole);
  });

  it('says where a page lies', async () => {
    const first = await page(experimentId, null, 20, null);
    expect(first.pageInfo).toEqual({
      hasNextPage: true, hasPreviousPage: false, startCursor: first.edges[0].cursor, endCursor: first.edges[19].cursor,
    });
    const second = await page(experimentId, null, 20, first.pageInfo.endCursor);
    expect(second.pageInfo).toMatchObject({ hasNextPage: false, hasPreviousPage: true });
    expect(second.totalCount).toBe(23);
  });

  it('neither repeats nor skips a job when others are inserted on both sides of the cursor', async () => {
    const own = await seedExperiment(fixture.db);
    await seedJobs(fixture.db, own, Array.from({ length: 9 }, (_, index) => ({ name: `old-${index}`, priority: 10 * index })));
    let inserted = 0;
    const names = await allNames(own, [{ field: 'PRIORITY' }], 2, async () => {
      inserted += 1;
      await seedJobs(fixture.db, own, [{ name: `before-${inserted}`, priority: 0 }, { name: `behind-${inserted}`, priority: 1000 }]);
    });
    expect(names.filter((name) => name.startsWith('old'))).toEqual(Array.from({ length: 9 }, (_, index) => `old-${index}`));
    expect(names.filter((name) => name.startsWith('before'))).toEqual([]);
    expect(new Set(names).size).toBe(names.length);
  });

  it('keeps microseconds apart', async () => {
    const own = await seedExperiment(fixture.db);
    const [a, b] = await seedJobs(fixture.db, own, [{ name: 'later' }, { name: 'sooner' }]);
    await fixture.db.pool.query(`update jobs set created_at = '2026-01-01 00:00:00.000002Z' where id = $1`, [a]);
    await fixture.db.pool.query(`update jobs set created_at = '2026-01-01 00:00:00.000001Z' where id = $1`, [b]);
    expect(await allNames(own, null, 1)).toEqual(['sooner', 'later']);
  });

  it('is counted only when asked', async () => {
    const { statements } = await fixture.counted('{ jobs { nodes { id } } }');
    expect(statements).toBe(1);
  });

  it('is counted once however often it is asked for', async () => {
    const { statements } = await fixture.counted(`{ jobs { ${Array.from({ length: 20 }, (_, index) => `a${index}: totalCount`).join(' ')} } }`);
    expect(statements).toBe(2);
  });

  it.each([0, -1, 501])('refuses a page of %i', async (first) => {
    const result = await fixture.run('query ($first: Int) { jobs(first: $first) { nodes { id } } }', { first });
    expect(shownErrors(result)).toEqual([{ code: 'BAD_USER_INPUT', message: `first: must be from 1 to 500, not ${first}; page on with \`after\`` }]);
  });

  it.each([
    ['text', 'nonsense'], ['another order', Buffer.from('["+priority","1"]').toString('base64url')],
    ['SQL', Buffer.from(JSON.stringify(['+createdAt,+id', "'; drop table jobs", 'x'])).toString('base64url')],
    ['a date that is none', Buffer.from(JSON.stringify(['+createdAt,+id', '2026-13-45 99:99:99+00', '01a208ac-1082-7696-b586-5c1ae0bf9b92'])).toString('base64url')],
    ['an id that is none', Buffer.from(JSON.stringify(['+createdAt,+id', '2026-01-01 00:00:00+00', '-'.repeat(36)])).toString('base64url')],
  ])('refuses a cursor made of %s', async (_, after) => {
    const result = await fixture.run('query ($after: String) { jobs(after: $after) { nodes { id } } }', { after });
    expect(shownErrors(result)).toEqual([{ code: 'BAD_USER_INPUT', message: expect.stringContaining('cursor') }]);
  });

  it('pages through the jobs of each of many parents by itself', async () => {
    const result = await fixture.run(`query ($ids: [ID!]) { experiments(filter: {ids: $ids}) { nodes {
      jobs(first: 3, orderBy: [{field: NAME}]) { nodes { name } totalCount pageInfo { hasNextPage } } } } }`, { ids: [experimentId, await seedExperiment(fixture.db)] });
    expect(result.errors).toBeUndefined();
    expect(result.data.experiments.nodes.map((each: any) => each.jobs)).toEqual([
      { nodes: [], totalCount: 0, pageInfo: { hasNextPage: false } },
      { nodes: [{ name: 'job-0' }, { name: 'job-1' }, { name: 'job-10' }], totalCount: 23, pageInfo: { hasNextPage: true } },
    ]);
  });
});

describe('other lists', () => {
  it('pages through experiments, newest first', async () => {
    const result = await fixture.run('{ experiments(first: 1) { totalCount pageInfo { endCursor } nodes { id } } }');
    const next = await fixture.run('query ($after: String) { experiments(after: $after) { nodes { id } } }', { after: result.data.experiments.pageInfo.endCursor });
    expect(next.data.experiments.nodes).toHaveLength(result.data.experiments.totalCount - 1);
    expect(next.data.experiments.nodes.at(-1).id).toBe(experimentId);
  });

  it('pages through results in the order of a final metric, and through submissions', async () => {
    const own = await seedExperiment(fixture.db);
    await seedJobs(fixture.db, own, [0.3, 0.1, 0.2].map((acc) => ({
      name: `acc-${acc}`, attempts: [{}], result: { metrics: { acc }, artifacts: [{ name: 'a b', path: '/scratch/me/a b.txt', sizeBytes: 1 }] },
    })));
    const query = `query ($f: ResultFilter, $after: String) { results(filter: $f, orderBy: [{field: FINAL_METRIC, key: "acc", direction: DESC}], first: 2, after: $after) {
      totalCount pageInfo { endCursor } nodes { job { name } metrics artifacts { uri } } } }`;
    const filter = { jobs: { experimentIds: [own] } };
    const first = await fixture.run(query, { f: filter });
    expect(first.data.results).toMatchObject({ totalCount: 3, nodes: [{ job: { name: 'acc-0.3' }, metrics: { acc: 0.3 } }, { job: { name: 'acc-0.2' } }] });
    expect(first.data.results.nodes[0].artifacts).toEqual([{ uri: 'ssh://me@login.example.org:2222/scratch/me/a%20b.txt' }]);
    const second = await fixture.run(query, { f: filter, after: first.data.results.pageInfo.endCursor });
    expect(second.data.results.nodes.map((node: any) => node.job.name)).toEqual(['acc-0.1']);

    const submissions = await fixture.run('{ submissions(filter: {clusters: ["hpc"], states: [SUBMITTED]}, first: 2) { totalCount nodes { script submittedBy answer jobs { name } cluster { name } } } }');
    expect(submissions.errors).toBeUndefined();
    expect(submissions.data.submissions).toMatchObject({ totalCount: 3, nodes: [{ submittedBy: ['admin'], answer: '123', cluster: { name: 'hpc' } }, {}] });
    expect(submissions.data.submissions.nodes[0].script).toContain('#!/bin/bash');
  });
});

import { tableFromIPC } from 'apache-arrow';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { v7 } from 'uuid';
import { checkpoints, results } from '../../src/db/tables/index.ts';
import type { JsonObject } from '../../src/domain/job-spec.ts';
import { exportTest, lines, ODD_KEY, type ExportTest, type QueryParameters } from './export-support.ts';

const FINISHED = new Date('2026-03-01T12:00:00.000Z');
let fixture: ExportTest;
let jobIds: string[];

beforeAll(async () => {
  fixture = await exportTest();
  ({ jobIds } = fixture);
  const { database } = fixture.http;
  await database.execute(sql`update experiments set objective_metric = 'loss', objective_goal = 'MIN'`);
  await database.execute(sql`update jobs set tags = '{a,"b, c"}', state = 'COMPLETED', config = config || ${JSON.stringify({ mixed: 1, odd: { 'a,b': '"x"\n' }, on: true, sizes: [1, 2] })}::jsonb where id = ${jobIds[0]}`);
  await database.execute(sql`update jobs set state = 'COMPLETED', config = config || '{"mixed": "one", "half": 0.5, "nothing": null}' where id = ${jobIds[1]}`);
  const metrics: JsonObject[] = [{ loss: 0.25, 'val/acc': 1 }, { loss: 1, note: 'good' }, {}];
  await database.insert(results).values(metrics.map((each, index) => ({ jobId: jobIds[index]!, metrics: each, artifacts: [], finishedAt: FINISHED })));
  await database.insert(checkpoints).values([['a.pt', 0], ['b "2".pt', 1], ['c.pt', null]].map(([name, step]) => ({
    jobId: jobIds[0]!, path: `/scratch/${name}`, id: v7(), attemptNumber: 2, state: name === 'c.pt' ? 'WRITING' as const : 'COMPLETE' as const, layout: 'PLAIN' as const,
    step: step as number | null, epoch: 0.5, sizeBytes: 2 ** 40, fileCount: 1, aliases: ['last'], writtenAt: FINISHED,
  })));
});
afterAll(() => fixture.http.stop());

/** As the queries have them. */
async function graphqlCheckpoints(jobId: string): Promise<{ path: string; metrics: { key: string; value: number; stepsApart: number }[] }[]> {
  const query = 'query ($id: ID!) { job(id: $id) { checkpoints { path metrics { key value stepsApart } } } }';
  const { json: { data: { job } } } = await fixture.http.post({ query, variables: { id: jobId } });
  expect(job.checkpoints).toHaveLength(4);
  return job.checkpoints;
}

test('results hold a row for each job that has one, with a column for each value of any of them', async () => {
  const rows = lines(await fixture.read(`experiment/${fixture.experimentId}/results.jsonl`));
  expect(rows.map(({ job_id }) => job_id)).toEqual(jobIds.slice(0, 3));
  expect(rows[0]).toEqual({
    job_id: jobIds[0], name: expect.any(String), state: 'COMPLETED', tags: ['a', 'b, c'], 'config.half': null, 'config.mixed': 1, 'config.nothing': null, 'config.odd.a,b': '"x"\n', 'config.on': true,
    'config.optim.lr': 0.1, 'config.optim.name': 'adam', 'config.seed': expect.any(Number), 'config.sizes': [1, 2], 'metrics.loss': 0.25, 'metrics.note': null, 'metrics.val/acc': 1,
    'checkpoint.path': '/scratch/a.pt', 'checkpoint.uri': 'file:///scratch/a.pt', 'checkpoint.state': 'COMPLETE', 'checkpoint.step': 0, 'checkpoint.epoch': 0.5, started_at: null, finished_at: FINISHED.toISOString(), sweep_id: fixture.sweepId, directory: expect.stringContaining(jobIds[0]!),
  });
  expect(rows[1]).toMatchObject({ 'config.mixed': 'one', 'config.half': 0.5, 'config.on': null, 'metrics.note': 'good', 'checkpoint.path': null });
});

test('in Arrow each column of results has the type of its values', async () => {
  const table = tableFromIPC(await fixture.read(`sweep/${fixture.sweepId}/results.arrow`));
  expect(Object.fromEntries(table.schema.fields.map(({ name, type }) => [name, String(type)]))).toMatchObject({
    job_id: 'Utf8', tags: 'List<Utf8>', 'config.half': 'Float64', 'config.mixed': 'Utf8', 'config.on': 'Bool', 'config.seed': 'Int64', 'config.sizes': 'Utf8', 'config.optim.name': 'Utf8',
    'metrics.loss': 'Float64', 'metrics.val/acc': 'Int64', 'checkpoint.step': 'Int64', finished_at: 'Timestamp<MILLISECOND, UTC>',
  });
  const column = (name: string): unknown[] => [...table.getChild(name)!];
  expect(column('config.mixed')).toEqual(['1', '"one"', null]);
  expect(column('config.on')).toEqual([true, null, null]);
  expect(column('metrics.loss')).toEqual([0.25, 1, null]);
  expect(column('checkpoint.step')).toEqual([0n, null, null]);
  expect(column('finished_at')).toEqual([FINISHED, FINISHED, FINISHED].map((moment) => moment.getTime()));
  expect([...(column('tags')[0] as Iterable<string>)]).toEqual(['a', 'b, c']);
});

test('results are filtered, go on after a row, and name the checkpoint that is asked for', async () => {
  const path = `experiment/${fixture.experimentId}/results.jsonl`;
  const whole = (await fixture.read(path)).toString().split('\n').slice(0, -1);
  expect((await fixture.read(path, { after: whole[0]! })).toString()).toBe(`${whole[1]}\n${whole[2]}\n`);
  expect(lines(await fixture.read(path, { filter: JSON.stringify({ config: [{ key: 'half', gt: 0 }] }) })).map(({ job_id }) => job_id)).toEqual([jobIds[1]]);
  expect(lines(await fixture.read(path, { metric: 'loss', goal: 'max' }))[0]).toMatchObject({ 'checkpoint.path': '/scratch/a.pt' });
  const refused = await fixture.get(path, { goal: 'least' });
  expect([refused.status, await refused.json()]).toMatchObject([400, { errors: [{ message: 'goal: cannot be "least"; it is one of min, max' }] }]);
});

test('results by half of what best means, or by a metric that no job has, are refused', async () => {
  const refused = async (parameters: QueryParameters): Promise<unknown> => {
    const response = await fixture.get(`experiment/${fixture.experimentId}/results.csv`, parameters);
    return [response.status, ((await response.json()) as { errors: { message: string }[] }).errors[0]?.message];
  };
  expect(lines(await fixture.read(`experiment/${fixture.experimentId}/results.jsonl`, { metric: 'loss' }))[0]).toMatchObject({ 'checkpoint.path': '/scratch/a.pt' });
  expect(await refused({ metric: 'long' })).toEqual([400, expect.stringMatching(/^metric: goes with a goal: pass both `metric` and `goal`/)]);
  expect(await refused({ goal: 'max' })).toEqual([400, expect.stringMatching(/^goal: goes with a metric: pass both `metric` and `goal`/)]);
  expect(await refused({ metric: 'lon', goal: 'max' })).toEqual([400, 'metric: no job has a metric "lon"; did you mean long?']);
});

test('checkpoints come in whatever state, by job and path, and go on after a row', async () => {
  const rows = lines(await fixture.read(`job/${jobIds[0]}/checkpoints.jsonl`));
  expect(rows.map(({ path, step, state }) => [path, step, state])).toEqual([['/scratch/a.pt', 0, 'COMPLETE'], ['/scratch/b "2".pt', 1, 'COMPLETE'], ['/scratch/c.pt', null, 'WRITING']]);
  expect(rows[0]).toEqual({
    job_id: jobIds[0], path: '/scratch/a.pt', id: expect.any(String), attempt: 2, state: 'COMPLETE', layout: 'PLAIN', step: 0, epoch: 0.5, aliases: ['last'],
    size_bytes: 2 ** 40, file_count: 1, written_at: FINISHED.toISOString(), logged_metrics: null,
    'metrics.loss': 0.25, 'steps_apart.loss': 0, [`metrics.${ODD_KEY}`]: null, [`steps_apart.${ODD_KEY}`]: null,
  });
  expect(rows.map((row) => row['metrics.loss'])).toEqual([0.25, 'NaN', null]);
  expect((await fixture.read(`experiment/${fixture.experimentId}/checkpoints.csv`, { after: JSON.stringify(rows[0]), keys: 'loss' })).toString().split('\r\n')[1])
    .toBe(`${jobIds[0]},"/scratch/b ""2"".pt",${rows[1].id},2,COMPLETE,PLAIN,1,0.5,"[""last""]",1099511627776,1,${FINISHED.toISOString()},,NaN,0`);
  const table = tableFromIPC(await fixture.read(`sweep/${fixture.sweepId}/checkpoints.arrow`));
  expect([...table.getChild('size_bytes')!]).toEqual([2n ** 40n, 2n ** 40n, 2n ** 40n]);
  expect([...table.getChild('attempt')!]).toEqual([2, 2, 2]);
});

test('checkpoints have each metric as it stood at their step and how much older it is, or as the job gave it with them', async () => {
  const at = (name: string, step: number | null, loggedMetrics: Record<string, number> | null) => ({
    jobId: jobIds[2]!, path: `/scratch/${name}`, id: v7(), attemptNumber: 1, state: 'COMPLETE' as const, layout: null, step, epoch: null, loggedMetrics,
    sizeBytes: 1, fileCount: 1, aliases: [], writtenAt: FINISHED,
  });
  await fixture.http.database.insert(checkpoints).values([at('1', 10, null), at('2', 200_000, null), at('3', 20, { long: 3, 'val/acc': 0.5 }), at('4', null, { 'val/acc': 0.75 })]);
  const columns = ['metrics.long', 'steps_apart.long', 'metrics.val/acc', 'steps_apart.val/acc'];
  const path = `job/${jobIds[2]}/checkpoints`;
  const rows = lines(await fixture.read(`${path}.jsonl`));
  expect(Object.keys(rows[0]).slice(-4)).toEqual(columns);
  expect(rows.map((row) => columns.map((name) => row[name]))).toEqual([[10 / 7, 0, null, null], [99_999 / 7, 100_001, null, null], [3, 0, 0.5, 0], [null, null, 0.75, 0]]);
  for (const checkpoint of await graphqlCheckpoints(jobIds[2]!)) {
    const row = rows.find(({ path: place }) => place === checkpoint.path);
    const exported = ['long', 'val/acc'].map((key) => ({ key, value: row[`metrics.${key}`], stepsApart: row[`steps_apart.${key}`] }));
    expect(checkpoint.metrics).toEqual(exported.filter(({ value }) => value !== null));
  }
  const chosen = tableFromIPC(await fixture.read(`${path}.arrow`, { keys: ['val/acc', 'loss'] }));
  expect(chosen.schema.fields.slice(-4).map(({ name, type }) => `${name}: ${type}`)).toEqual(['metrics.val/acc: Float64', 'steps_apart.val/acc: Int64', 'metrics.loss: Float64', 'steps_apart.loss: Int64']);
  expect([...chosen.getChild('metrics.loss')!]).toEqual([null, null, null, null]);
});

test('a metric or a value in a filter that no job has is refused, with what was probably meant, and no other empty choice is', async () => {
  const answer = async (file: string, parameters: QueryParameters): Promise<string> => {
    const response = await fixture.get(`sweep/${fixture.sweepId}/${file}`, parameters);
    return response.status === 200 ? 'taken' : ((await response.json()) as { errors: { message: string }[] }).errors[0]!.message;
  };
  const filter = (conditions: object) => ({ filter: JSON.stringify(conditions) });
  expect(await answer('metrics.csv', { keys: ['loss', 'los'] })).toBe('keys: no job has a metric "los"; did you mean loss?');
  expect(await answer('checkpoints.csv', { keys: 'key/31' })).toMatch(/^keys: no job has a metric "key\/31"; did you mean key\//);
  expect(await answer('results.csv', filter({ config: [{ key: 'lr', eq: 0.1 }] }))).toBe('filter.config: no job has a config value "lr"; did you mean optim.lr?');
  expect(await answer('metrics.csv', filter({ metrics: [{ key: 'lss', lt: 1 }] }))).toBe('filter.metrics: no job has a metric "lss"; did you mean loss?');
  for (const condition of [{ key: 'optim.lr', eq: 7 }, { key: 'lr', exists: false }, { key: 'lr', ne: 1 }]) expect(await answer('results.csv', filter({ config: [condition] }))).toBe('taken');
});

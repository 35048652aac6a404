import { afterEach, beforeEach, expect, test } from 'vitest';
import { submitSweep } from '../../src/actions/submit-sweep.ts';
import { SubmitError } from '../../src/cluster/executor.ts';
import { dispatchQueue, type DispatchDependencies } from '../../src/reconcilers/dispatch.ts';
import { actionTest, smallSweep, type ActionTest } from '../support/actions.ts';
import { fakeCluster, silent, type FakeCluster } from './fake-cluster.ts';

let at: ActionTest;
let fake: FakeCluster;
beforeEach(async () => {
  at = await actionTest();
  fake = await fakeCluster('greene');
  at.context = { ...at.context, clusters: new Map([['greene', fake.cluster.settings]]) };
});
afterEach(async () => {
  await fake.close();
  await at.db.drop();
});

const dependencies = (changes: Partial<DispatchDependencies> = {}): DispatchDependencies => ({
  database: at.db.database, cluster: fake.cluster, inFlight: new Set(), maxArraySize: () => 2, isStopping: () => false, logger: silent, ...changes,
});
async function submitJobs(count: number): Promise<string[]> {
  const { jobs } = await submitSweep(at.context, smallSweep({ space: { grid: [{ key: 'n', values: Array.from({ length: count }, (_, index) => index) }] } }));
  return jobs.map((job) => job.jobId ?? '').sort();
}
const statesOf = async (): Promise<string[]> => (await at.db.pool.query<{ state: string }>('select state from jobs order by id')).rows.map((row) => row.state);

test('when the database fails in the middle of a queue, every batch of it is looked for afterwards', async () => {
  await submitJobs(6);
  const { submit } = fake.cluster.executor;
  fake.override({ submit: async (batch, script) => {
    // What is stored next fails.
    await at.db.pool.query('alter table batches add constraint broken check (state <> \'SUBMITTED\') not valid');
    return submit(batch, script);
  } });
  const inFlight = new Set<string>();
  await expect(dispatchQueue(dependencies({ inFlight }))).rejects.toThrow();
  expect(await statesOf()).toEqual(Array(6).fill('SUBMITTING'));
  expect([...inFlight]).toEqual([]);
});

test('a claim whose commit is not known to have happened is looked for afterwards', async () => {
  await submitJobs(1);
  const inFlight = new Set<string>();
  const database = Object.create(at.db.database, { transaction: { value: async (work: never) => {
    await at.db.database.transaction(work);
    throw new Error('Connection terminated unexpectedly');
  } } }) as DispatchDependencies['database'];
  await expect(dispatchQueue(dependencies({ database, inFlight }))).rejects.toThrow();
  expect(await statesOf()).toEqual(['SUBMITTING']);
  expect([...inFlight]).toEqual([]);
});

test('a deadlock with somebody who changes the same jobs is tried again', async () => {
  const [first = '', last = ''] = await submitJobs(2);
  const client = await at.db.pool.connect();
  const lock = (id: string) => client.query('select 1 from jobs where id = $1 for no key update', [id]);
  let locking: Promise<unknown> = Promise.resolve();
  const { submit } = fake.cluster.executor;
  fake.override({ submit: async (batch, script) => {
    await client.query('begin');
    await lock(last);
    locking = new Promise((resolve) => setTimeout(resolve, 300)).then(() => lock(first)).then(() => client.query('commit'));
    return submit(batch, script);
  } });
  const outcome = await Promise.allSettled([dispatchQueue(dependencies({ maxArraySize: () => 1000 })), locking]);
  client.release();
  expect(outcome.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled']);
  expect(await statesOf()).toEqual(['PENDING', 'PENDING']);
});

test('a server that stops sends no further batch, and gives back what it has claimed', async () => {
  await submitJobs(6);
  let stopping = false;
  const { submit } = fake.cluster.executor;
  fake.override({ submit: async (batch, script) => {
    stopping = true;
    return submit(batch, script);
  } });
  const inFlight = new Set<string>();
  expect(await dispatchQueue(dependencies({ inFlight, isStopping: () => stopping }))).toBe(2);
  expect((await statesOf()).sort()).toEqual(['PENDING', 'PENDING', 'QUEUED', 'QUEUED', 'QUEUED', 'QUEUED']);
  expect([...inFlight]).toEqual([]);
});

test('a partition that takes no jobs now does not hold up those for another', async () => {
  const space = { grid: [{ key: 'n', values: [1] }] };
  await submitSweep(at.context, smallSweep({ experiment: 'first', priority: 900, resources: { partition: 'down' }, space }));
  await submitSweep(at.context, smallSweep({ experiment: 'second', priority: 100, resources: { partition: 'up' }, space }));
  const { submit } = fake.cluster.executor;
  fake.override({ submit: async (batch, script) => {
    if (batch.resources.partition === 'down') throw new SubmitError('transient', 'Required partition not available (inactive or drain)');
    return submit(batch, script);
  } });
  await expect(dispatchQueue(dependencies())).rejects.toThrow('Required partition');
  const { rows } = await at.db.pool.query<{ state: string }>('select state from jobs order by priority');
  expect(rows.map((row) => row.state)).toEqual(['PENDING', 'QUEUED']);
});

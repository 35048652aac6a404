import { afterEach, beforeEach, expect, test } from 'vitest';
import { submitSweep } from '../../src/actions/submit-sweep.ts';
import { SubmitError } from '../../src/cluster/executor.ts';
import { TransportError } from '../../src/cluster/transport.ts';
import { dispatchQueue, type DispatchDependencies } from '../../src/reconcilers/dispatch.ts';
import { SubmitRoom } from '../../src/reconcilers/submit-room.ts';
import { smallSweep } from '../support/actions.ts';
import { fakeClusterTest, silent, type FakeCluster, type FakeClusterTest } from './fake-cluster.ts';

let at: FakeClusterTest;
let fake: FakeCluster;
beforeEach(async () => {
  at = await fakeClusterTest();
  fake = at.fake;
});
afterEach(() => at.close());

const dependencies = (changes: Partial<DispatchDependencies> = {}): DispatchDependencies => ({
  database: at.db.database, cluster: fake.cluster, room: new SubmitRoom(), inFlight: new Set(), maxArraySize: () => 2, isStopping: () => false, logger: silent, ...changes,
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

test('each batch that was handed over is told of before the next one is sent, with its jobs written down', async () => {
  await submitJobs(4);
  const { submit } = fake.cluster.executor;
  const log: string[] = [];
  const told: Promise<number>[] = [];
  fake.override({ submit: async (batch, script) => {
    await Promise.all(told);
    log.push('sent');
    return submit(batch, script);
  } });
  await dispatchQueue(dependencies({ onTaken: () => {
    log.push('told');
    told.push(statesOf().then((states) => states.filter((state) => state === 'PENDING').length));
  } }));
  expect(log).toEqual(['sent', 'told', 'sent', 'told']);
  expect(await Promise.all(told)).toEqual([2, 4]);
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
  expect(await dispatchQueue(dependencies({ inFlight, isStopping: () => stopping }))).toMatchObject({ count: 2 });
  expect((await statesOf()).sort()).toEqual(['PENDING', 'PENDING', 'QUEUED', 'QUEUED', 'QUEUED', 'QUEUED']);
  expect([...inFlight]).toEqual([]);
});

/** One job for each of the given partitions, the first of the highest priority. */
async function submitTo(partitions: string[], jobsEach = 1): Promise<void> {
  const values = Array.from({ length: jobsEach }, (_, index) => index);
  for (const [index, partition] of partitions.entries()) {
    await submitSweep(at.context, smallSweep({ experiment: `in-${partition}`, priority: 900 - index, resources: { partition, account: 'cds' }, space: { grid: [{ key: 'n', values }] } }));
  }
}
const countsByPartition = async (): Promise<Record<string, Record<string, number>>> => {
  const { rows } = await at.db.pool.query<{ partition: string; state: string; count: string }>("select resources->>'partition' as partition, state, count(*) from jobs group by 1, 2 order by 1, 2");
  const counts: Record<string, Record<string, number>> = {};
  for (const { partition, state, count } of rows) counts[partition] = { ...counts[partition], [state]: Number(count) };
  return counts;
};
/** A cluster that takes so many jobs of the user and says nothing but that; answers what was asked of it, as `+5` and `-10`. */
function takesAtMost(limit: number, word = 'AssocMaxSubmitJobLimit', isCounted: (batch: { resources: { partition: string | null } }) => boolean = () => true): { asked: string[]; end(count: number): void } {
  let there = 0;
  const asked: string[] = [];
  const { submit } = fake.cluster.executor;
  fake.override({ submit: async (batch, script) => {
    if (isCounted(batch) && there + batch.tasks.length > limit) {
      asked.push(`-${batch.tasks.length}`);
      throw new SubmitError('limit', `sbatch (exit code 1): ${word}; Batch job submission failed: Job violates accounting/QOS policy`);
    }
    if (isCounted(batch)) there += batch.tasks.length;
    asked.push(`+${batch.tasks.length}`);
    return submit(batch, script);
  } });
  return { asked, end: (count) => { there -= count; } };
}

test('a partition that takes no jobs now does not hold up those for another, though its jobs fill many claims', async () => {
  await submitTo(['down', 'up'], 2_500);
  const { submit } = fake.cluster.executor;
  let triesOfDown = 0;
  fake.override({ submit: async (batch, script) => {
    if (batch.resources.partition !== 'down') return submit(batch, script);
    triesOfDown += 1;
    throw new SubmitError('transient', 'Required partition not available (inactive or drain)');
  } });
  fake.cluster.settings.maxActiveJobs = 10_000;
  const room = new SubmitRoom();
  const { waits } = await dispatchQueue(dependencies({ room, maxArraySize: () => 1000 }));
  expect(await countsByPartition()).toEqual({ down: { QUEUED: 2_500 }, up: { PENDING: 2_500 } });
  expect(waits).toEqual([expect.objectContaining({ lane: 'down|cds|', reason: 'NotNow', explanation: expect.stringContaining('Required partition not available') })]);
  await dispatchQueue(dependencies({ room, maxArraySize: () => 1000 }));
  expect(triesOfDown).toBe(1);
  expect(room.untilNextMs()).toBeGreaterThan(0);
}, 60_000);

test('what the cluster refuses for a limit waits in the queue with a reason, and the limit is found out', async () => {
  await submitTo(['gpu'], 100);
  const { asked, end } = takesAtMost(30);
  const room = new SubmitRoom();
  room.noteQueue([{ partition: 'gpu', account: 'cds', qos: null, token: null, count: 7 }], new Set());
  const { count, waits } = await dispatchQueue(dependencies({ room, maxArraySize: () => 1000 }));
  expect(count).toBe(30);
  expect(asked[0]).toBe('-100');
  expect(asked.length).toBeLessThanOrEqual(14);
  expect(await countsByPartition()).toEqual({ gpu: { PENDING: 30, QUEUED: 70 } });
  expect(waits).toEqual([expect.objectContaining({ lane: 'gpu|cds|', reason: 'SubmitLimit', explanation: expect.stringMatching(/37 are there \(7 not from expgraph\).*AssocMaxSubmitJobLimit/) })]);
  // As jobs end their places are filled at once, without another refusal.
  await at.db.pool.query("update jobs set state = 'COMPLETED' where id in (select id from jobs where state = 'PENDING' limit 12)");
  end(12);
  asked.length = 0;
  await dispatchQueue(dependencies({ room, maxArraySize: () => 1000 }));
  expect(asked).toEqual(['+12']);
});

test('the limits that accounting tells are kept to without a refusal, counting what was submitted by hand, in the order of priorities', async () => {
  await submitTo(['fast', 'slow'], 50);
  const { asked } = takesAtMost(63);
  const room = new SubmitRoom();
  room.noteLimits({ qos: [], associations: [{ account: 'cds', partition: null, isDefaultAccount: true, defaultQos: 'normal', maxJobs: null, maxSubmitJobs: 100, grpSubmitJobs: null }] });
  room.noteQueue([
    { partition: 'slow', account: 'cds', qos: 'normal', token: null, count: 30 }, { partition: 'fast', account: 'cds', qos: 'normal', token: 'eg-aaaaaaaaaa-another-server', count: 7 },
    { partition: 'fast', account: 'other', qos: 'normal', token: null, count: 500 },
  ], new Set());
  const { count, waits } = await dispatchQueue(dependencies({ room, maxArraySize: () => 1000 }));
  expect({ count, asked }).toEqual({ count: 63, asked: ['+50', '+13'] });
  expect(await countsByPartition()).toEqual({ fast: { PENDING: 50 }, slow: { PENDING: 13, QUEUED: 37 } });
  expect(waits).toEqual([expect.objectContaining({
    lane: 'slow|cds|', reason: 'SubmitLimit',
    explanation: 'It waits in expgraph\'s queue: the cluster takes at most 100 submitted jobs of yours (MaxSubmitJobs of account cds), 100 are there (37 not from expgraph).',
  })]);
});

test('a partition that takes no more jobs of the user does not hold up another one', async () => {
  await submitTo(['full', 'free'], 40);
  const { asked } = takesAtMost(5, 'QOSMaxSubmitJobPerUserLimit', ({ resources }) => resources.partition === 'full');
  const room = new SubmitRoom();
  await dispatchQueue(dependencies({ room, maxArraySize: () => 1000 }));
  expect(await countsByPartition()).toEqual({ free: { PENDING: 40 }, full: { PENDING: 5, QUEUED: 35 } });
  expect(asked).toContain('+40');
});

test('a job that accounting does not allow at all fails, rather than wait for room', async () => {
  await submitTo(['gpu'], 1);
  fake.override({ submit: async () => { throw new SubmitError('limit', 'Job violates accounting/QOS policy (job submit limit, user\'s size and/or time limits)'); } });
  await dispatchQueue(dependencies());
  expect(await statesOf()).toEqual(['FAILED']);
});

test('maxActiveJobs remains the upper bound, and is the reason that is shown', async () => {
  await submitTo(['gpu'], 5);
  fake.cluster.settings.maxActiveJobs = 3;
  const { count, waits } = await dispatchQueue(dependencies({ maxArraySize: () => 1000 }));
  expect(count).toBe(3);
  expect(waits).toEqual([expect.objectContaining({ reason: 'MaxActiveJobs', explanation: expect.stringContaining('3 jobs are handed to the cluster at a time') })]);
});

test('when submissions do not get through, nothing more is tried and all of it stays queued', async () => {
  await submitTo(['one', 'two']);
  let tries = 0;
  fake.override({ submit: async () => {
    tries += 1;
    throw new SubmitError('transient', 'connect ECONNREFUSED', null, { cause: new TransportError('unreachable', 'connect ECONNREFUSED') });
  } });
  await expect(dispatchQueue(dependencies())).rejects.toThrow('ECONNREFUSED');
  expect(tries).toBe(1);
  expect(await statesOf()).toEqual(['QUEUED', 'QUEUED']);
});

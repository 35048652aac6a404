import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { submitSweep } from '../../src/actions/submit-sweep.ts';
import { SubmitError } from '../../src/cluster/executor.ts';
import { dispatchQueue } from '../../src/reconcilers/dispatch.ts';
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

describe('a cluster that does not say whether there are too many jobs or one asks for too much', () => {
  const WORDS = "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)";
  const LARGE_CPUS = 64;
  /** Jobs of one lane, by what they ask for; more CPUs come first. */
  async function submitKinds(kinds: { cpus: number; count: number }[]): Promise<void> {
    for (const { cpus, count } of kinds) {
      await submitSweep(at.context, smallSweep({
        experiment: `with-${cpus}`, priority: 100 + cpus, resources: { partition: 'gpu', account: 'cds', cpus }, space: { grid: [{ key: 'n', values: Array.from({ length: count }, (_, index) => index) }] },
      }));
    }
  }
  /** Takes so many jobs in all, and none that is too large. */
  function takes(limit: number): { sent: string[]; end(count: number): void } {
    let there = 0;
    const sent: string[] = [];
    const { submit } = fake.cluster.executor;
    fake.override({ submit: async (batch, script) => {
      const isTaken = batch.resources.cpus < LARGE_CPUS && there + batch.tasks.length <= limit;
      sent.push(`${isTaken ? '+' : '-'}${batch.tasks.length} of ${batch.resources.cpus}`);
      if (!isTaken) throw new SubmitError('limit', WORDS);
      there += batch.tasks.length;
      return submit(batch, script);
    } });
    return { sent, end: (count) => { there -= count; } };
  }
  const countsByKind = async (): Promise<string[]> => (await at.db.pool.query<{ line: string }>(
    "select concat_ws(' ', count(*), 'of', resources->>'cpus', state) as line from jobs group by resources->>'cpus', state order by (resources->>'cpus')::int desc, state")).rows.map(({ line }) => line);
  let room: SubmitRoom;
  const handOver = () => dispatchQueue({ database: at.db.database, cluster: fake.cluster, room, inFlight: new Set(), maxArraySize: () => 1000, isStopping: () => false, logger: silent });
  const pass = (seconds: number): void => { vi.setSystemTime(Date.now() + seconds * 1000); };

  beforeEach(async () => {
    room = new SubmitRoom(() => 0.5);
    vi.useFakeTimers({ toFake: ['Date'] });
    await submitKinds([{ cpus: 1, count: 3 }]);
  });
  afterEach(() => { vi.useRealTimers(); });

  test('takes the others at once, though the one of highest priority is impossible, which fails when that has been seen several times', async () => {
    const { sent } = takes(1_000);
    await handOver();
    await submitKinds([{ cpus: LARGE_CPUS, count: 1 }, { cpus: 2, count: 10 }]);
    await handOver();
    expect(await countsByKind()).toEqual(['1 of 64 QUEUED', '10 of 2 PENDING', '3 of 1 PENDING']);
    expect(sent.slice(0, 4)).toEqual(['+3 of 1', '-1 of 64', '+1 of 2', '+2 of 2']);
    for (const [index, seconds] of [31, 61, 121].entries()) {
      expect((await countsByKind())[0]).toBe('1 of 64 QUEUED');
      pass(seconds);
      await submitKinds([{ cpus: 10 + index, count: 1 }]);
      await handOver();
    }
    expect((await at.db.pool.query("select state, state_reason from jobs where resources->>'cpus' = '64'")).rows).toEqual([{ state: 'FAILED', state_reason: WORDS }]);
    expect(sent.filter((line) => line.startsWith('-'))).toHaveLength(4);
  });

  test('keeps a whole sweep of impossible jobs from holding up the others, and fails it in few commands', async () => {
    const { sent } = takes(1_000);
    await handOver();
    await submitKinds([{ cpus: LARGE_CPUS, count: 100 }, { cpus: 2, count: 10 }]);
    await handOver();
    expect(await countsByKind()).toEqual(['100 of 64 QUEUED', '10 of 2 PENDING', '3 of 1 PENDING']);
    for (const [index, seconds] of [31, 61, 121].entries()) {
      pass(seconds);
      await submitKinds([{ cpus: 10 + index, count: 1 }]);
      await handOver();
    }
    expect((await countsByKind())[0]).toBe('100 of 64 FAILED');
    expect(sent.filter((line) => line.startsWith('-')).length).toBeLessThan(30);
  });

  test('fails none where there are too many, and fills the places of those that end in the order of priorities', async () => {
    const { sent, end } = takes(5);
    await handOver();
    await submitKinds([{ cpus: 8, count: 4 }, { cpus: 4, count: 4 }, { cpus: 2, count: 4 }]);
    for (let round = 0; round < 12; round += 1) {
      await handOver();
      pass(700);
    }
    expect(await countsByKind()).toEqual(['2 of 8 PENDING', '2 of 8 QUEUED', '4 of 4 QUEUED', '4 of 2 QUEUED', '3 of 1 PENDING']);
    await at.db.pool.query("update jobs set state = 'COMPLETED' where resources->>'cpus' = '1'");
    end(3);
    sent.length = 0;
    await handOver();
    expect(await countsByKind()).toEqual(['4 of 8 PENDING', '1 of 4 PENDING', '3 of 4 QUEUED', '4 of 2 QUEUED', '3 of 1 COMPLETED']);
  });

  test('comes to every kind in time, though many are impossible', async () => {
    const { sent } = takes(1_000);
    await handOver();
    await submitKinds([...[5, 4, 3, 2, 1, 0].map((more) => ({ cpus: LARGE_CPUS + more, count: 1 })), { cpus: 2, count: 5 }]);
    await handOver();
    expect(sent.slice(1)).toEqual(['-1 of 69', '-1 of 68', '-1 of 67', '-1 of 66']);
    pass(60);
    await handOver();
    expect(sent.slice(5, 9)).toEqual(['-1 of 69', '-1 of 65', '-1 of 64', '+1 of 2']);
    pass(10);
    await handOver();
    expect(await countsByKind()).toContain('5 of 2 PENDING');
  });

  test('does not lose a job that is the only one left to send', async () => {
    const { sent } = takes(1_000);
    await handOver();
    await submitKinds([{ cpus: LARGE_CPUS, count: 1 }]);
    for (let round = 0; round < 3; round += 1) {
      await handOver();
      pass(700);
    }
    expect(sent.filter((line) => line === '-1 of 64')).toHaveLength(3);
    // None of ours is left there: then it cannot be the number.
    await at.db.pool.query("update jobs set state = 'COMPLETED' where state = 'PENDING'");
    await handOver();
    expect((await countsByKind())[0]).toBe('1 of 64 FAILED');
  });
});

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { openLocalTransport } from '../../src/cluster/transport/local.ts';
import { openWatch } from '../../src/cluster/watch/open-watch.ts';
import type { AttemptState } from '../../src/domain/states.ts';
import { inWatchOrder } from '../../src/reconcilers/watch-order.ts';
import { until } from '../rig/processes.ts';

interface Row { jobId: string; state: AttemptState; heldOnCluster: boolean; submittedAt: Date; taskIndex: number }
/** Jobs of batches of 1,000, one batch a second. */
const row = (index: number, changes: Partial<Row> = {}): Row => ({
  jobId: `j${String(index).padStart(6, '0')}`, state: 'PENDING', heldOnCluster: false, submittedAt: new Date(Math.floor(index / 1000) * 1000), taskIndex: index % 1000, ...changes,
});

test('those that run come first, then those that wait in the order of their submission, then held and lost ones', () => {
  const rows = [row(0, { state: 'LOST' }), row(1, { heldOnCluster: true }), row(2_000), row(3), row(2), row(4_000, { state: 'RUNNING' }), row(5, { state: 'SUSPENDED' }), row(6, { state: 'COMPLETING' })];
  expect(inWatchOrder(rows).map(({ jobId }) => Number(jobId.slice(1)))).toEqual([5, 6, 4_000, 2, 3, 2_000, 1, 0]);
});

test('the order does not depend on how the database gives them, nor on what does not bear on it', () => {
  const rows = Array.from({ length: 12 }, (_, index) => row(index, { state: index % 3 === 0 ? 'RUNNING' : 'PENDING' }));
  const order = inWatchOrder(rows).map(({ jobId }) => jobId);
  fc.assert(fc.property(fc.shuffledSubarray(rows, { minLength: 12 }), (shuffled) => {
    expect(inWatchOrder(shuffled).map(({ jobId }) => jobId)).toEqual(order);
  }));
});

test('of more jobs than can be watched the same ones stay watched, and one that starts or ends changes one place', async () => {
  const transport = openLocalTransport();
  const told: { add?: [number, string, number][]; remove?: number[] }[] = [];
  const watch = openWatch({
    ...transport,
    async stream(argv) {
      const stream = await transport.stream(argv);
      return Object.create(stream, { write: { value: (text: string) => {
        told.push(JSON.parse(text) as typeof told[number]);
        return stream.write(text);
      } } }) as typeof stream;
    },
  }, { info: () => undefined, warn: () => undefined });
  const set = (rows: Row[]): { added: string[]; removed: number } => {
    told.length = 0;
    watch.setJobs(inWatchOrder(rows).map(({ jobId }) => ({ jobDirectory: `/nowhere/${jobId}`, attemptNumber: 1 })));
    return { added: told.flatMap(({ add = [] }) => add.map(([, directory]) => directory)), removed: told.flatMap(({ remove = [] }) => remove).length };
  };
  try {
    await until('the watch to be live', 30_000, () => watch.status().state === 'LIVE');
    const rows = Array.from({ length: 20_500 }, (_, index) => row(index));
    expect(set(rows).added).toHaveLength(20_000);
    expect(set([...rows].reverse())).toEqual({ added: [], removed: 0 });
    const last = rows.at(-1)!;
    expect(set([...rows.slice(0, -1), { ...last, state: 'RUNNING' }])).toEqual({ added: [`/nowhere/${last.jobId}`], removed: 1 });
    // It has ended: the one that had made room for it is back.
    expect(set(rows.slice(0, -1))).toEqual({ added: ['/nowhere/j019999'], removed: 1 });
  } finally {
    await watch.close();
    await transport.close();
  }
}, 120_000);

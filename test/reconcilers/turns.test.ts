import { expect, test } from 'vitest';
import { Turns } from '../../src/reconcilers/turns.ts';

/** Work that goes on until it is told to end. */
function piece(log: string[], name: string): { work: () => Promise<void>; end: (error?: Error) => void } {
  let end: (error?: Error) => void = () => undefined;
  const ended = new Promise<void>((resolve, reject) => { end = (error) => (error === undefined ? resolve() : reject(error)); });
  return { end: (error) => end(error), work: () => {
    log.push(name);
    return ended;
  } };
}
const settled = () => new Promise((resolve) => { setImmediate(resolve); });

test('work on the same job waits for what came before, work on others does not', async () => {
  const turns = new Turns();
  const log: string[] = [];
  const [first, same, other] = [piece(log, 'first'), piece(log, 'same'), piece(log, 'other')];
  const taken = [turns.take(['a', 'b'], first.work), turns.take(['b', 'c'], same.work), turns.take(['d'], other.work)];
  await settled();
  expect(log).toEqual(['first', 'other']);
  expect(['a', 'b', 'c', 'd', 'e'].map((jobId) => turns.isTaken(jobId))).toEqual([true, true, true, true, false]);
  first.end();
  await settled();
  expect(log).toEqual(['first', 'other', 'same']);
  expect(turns.isTaken('a')).toBe(false);
  for (const { end } of [same, other]) end();
  await Promise.all(taken);
  expect(turns.isTaken('d')).toBe(false);
});

test('work on any job waits for all that came before, and all that comes later for it', async () => {
  const turns = new Turns();
  const log: string[] = [];
  const [before, any, after] = [piece(log, 'before'), piece(log, 'any'), piece(log, 'after')];
  const taken = [turns.take(['a'], before.work), turns.take(null, any.work), turns.take(['b'], after.work)];
  await settled();
  expect(log).toEqual(['before']);
  expect(turns.isTaken('z')).toBe(true);
  before.end();
  await settled();
  expect(log).toEqual(['before', 'any']);
  for (const { end } of [any, after]) end();
  await Promise.all(taken);
  expect(log).toEqual(['before', 'any', 'after']);
});

test('a failure is told to whoever asked for the work, and ends its turn', async () => {
  const turns = new Turns();
  const log: string[] = [];
  const [failing, next] = [piece(log, 'failing'), piece(log, 'next')];
  const failed = expect(turns.take(['a'], failing.work)).rejects.toThrow('gone');
  const went = turns.take(['a'], next.work);
  failing.end(new Error('gone'));
  next.end();
  await Promise.all([failed, went]);
  expect(log).toEqual(['failing', 'next']);
});

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { afterAcceptance, afterRefusal, learntRoom, type LearntLimit } from '../../src/domain/learnt-limit.ts';

/** Hands over as long as there is room, to a cluster that takes so many and does not say so. */
function handOver(limit: number, present: number, waiting: number, known: LearntLimit | null, now: number): { present: number; known: LearntLimit | null; commands: number; refusals: number } {
  let commands = 0;
  let refusals = 0;
  let [there, learnt, left] = [present, known, waiting];
  const roomNow = (): number => Math.min(left, learnt === null ? left : learntRoom(learnt, there, now));
  for (let room = roomNow(); room > 0; room = roomNow()) {
    commands += 1;
    if (there + room <= limit) {
      there += room;
      left -= room;
      if (learnt !== null) learnt = afterAcceptance(learnt, there, now);
    } else {
      refusals += 1;
      learnt = afterRefusal(learnt, { present: there, asked: room, words: 'too many', now, jitter: 0.5 });
    }
  }
  return { present: there, known: learnt, commands, refusals };
}

test('any limit is found exactly, with few commands', () => {
  fc.assert(fc.property(fc.nat(3_000), fc.nat(200), fc.integer({ min: 1, max: 2_000 }), (limit, byHand, waiting) => {
    const { present, commands } = handOver(limit, Math.min(byHand, limit), waiting, null, 0);
    expect(present).toBe(Math.min(limit, Math.min(byHand, limit) + waiting));
    expect(commands).toBeLessThanOrEqual(2 + 2 * Math.ceil(Math.log2(waiting + 1)));
  }));
});

test('as jobs end their places are filled in one go, without asking for too much again', () => {
  const { known } = handOver(100, 0, 1_000, null, 0);
  expect(learntRoom(known!, 60, 0)).toBe(40);
  expect(handOver(100, 60, 900, known, 0)).toMatchObject({ present: 100, commands: 1, refusals: 0 });
});

test('at the limit one more is tried after half a minute, then more and more rarely', () => {
  let { known } = handOver(100, 0, 1_000, null, 0);
  expect(learntRoom(known!, 100, 10_000)).toBe(0);
  let now = 30_000;
  const pauses: number[] = [];
  for (let tries = 0; tries < 7; tries += 1) {
    expect(learntRoom(known!, 100, now)).toBe(1);
    known = afterRefusal(known, { present: 100, asked: 1, words: 'too many', now, jitter: 0.5 });
    pauses.push((known.tryAt - now) / 1000);
    now = known.tryAt;
  }
  expect(pauses.at(0)).toBeLessThanOrEqual(60);
  expect(pauses.at(-1)).toBe(600);
});

test('a limit that was raised is found out', () => {
  const { known } = handOver(100, 0, 1_000, null, 0);
  expect(handOver(150, 100, 900, known, 60_000)).toMatchObject({ present: 150 });
});

test('a limit that was lowered is found out', () => {
  const { known } = handOver(100, 0, 1_000, null, 0);
  const { present, known: lower } = handOver(50, 20, 900, known, 0);
  expect(present).toBe(50);
  expect(learntRoom(lower!, 40, 0)).toBe(10);
});

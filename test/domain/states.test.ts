import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  ACTIVE_ATTEMPT_STATES, ACTIVE_JOB_STATES, ATTEMPT_STATES, JOB_STATES, advanceAttempt, announcedPath, isTerminalAttemptState, isTerminalJobState, jobStateOf,
} from '../../src/domain/states.ts';
import type { AttemptState } from '../../src/domain/states.ts';

const TERMINAL = ATTEMPT_STATES.filter((state) => isTerminalAttemptState(state) && state !== 'LOST');
const attemptState = fc.constantFrom(...ATTEMPT_STATES);
const after = (facts: readonly AttemptState[]) => facts.reduce(advanceAttempt, 'SUBMITTING');

/** What can truly be seen of one attempt: some of its active states and at most one end. Suspension aside. */
const consistentFacts = fc.record({
  active: fc.subarray(ACTIVE_ATTEMPT_STATES.filter((state) => state !== 'SUSPENDED')),
  end: fc.option(fc.constantFrom(...TERMINAL)),
}).map(({ active, end }) => [...active, ...(end === null ? [] : [end])]);

describe('an attempt', () => {
  it('ends in the same state in whatever order and however often its facts arrive', () => {
    fc.assert(fc.property(
      consistentFacts.chain((facts) => fc.tuple(
        fc.constant(facts), fc.array(fc.constantFrom(...facts, 'SUBMITTING' as const), { maxLength: 10 }).map((more) => [...facts, ...more])
          .chain((all) => fc.shuffledSubarray(all, { minLength: all.length })),
      )),
      ([inOrder, arrived]) => { expect(after(arrived)).toBe(after(inOrder)); },
    ));
  });

  it('that was called LOST is where the next fact finds it, and its end is the same as if it never had been', () => {
    fc.assert(fc.property(attemptState, fc.constantFrom(...TERMINAL), (seen, end) => {
      expect(advanceAttempt('LOST', seen)).toBe(seen);
      expect(after(['LOST', seen === 'SUSPENDED' || TERMINAL.includes(seen) ? 'RUNNING' : seen, end, 'LOST'])).toBe(end);
    }));
  });

  it('never leaves an end that was seen', () => {
    fc.assert(fc.property(fc.constantFrom(...TERMINAL), fc.array(attemptState), (end, facts) => {
      expect(facts.reduce(advanceAttempt, end)).toBe(end);
    }));
  });

  it('changes nothing when the same fact comes twice', () => {
    fc.assert(fc.property(attemptState, attemptState, (current, seen) => {
      const once = advanceAttempt(current, seen);
      expect(advanceAttempt(once, seen)).toBe(once);
    }));
  });

  it('goes back and forth between running and suspended, and is found again after it was lost', () => {
    expect(after(['RUNNING', 'SUSPENDED', 'RUNNING'])).toBe('RUNNING');
    expect(after(['RUNNING', 'LOST', 'RUNNING'])).toBe('RUNNING');
    expect(after(['LOST', 'COMPLETED'])).toBe('COMPLETED');
  });

  it('shows as a job that has ended exactly when it has', () => {
    for (const state of ATTEMPT_STATES) expect(isTerminalJobState(jobStateOf(state))).toBe(isTerminalAttemptState(state));
  });
});

describe('the states announced', () => {
  it('fill in what a poll missed when there is evidence that the attempt started', () => {
    expect(announcedPath('SUBMITTING', 'COMPLETED', true)).toEqual(['PENDING', 'RUNNING', 'COMPLETED']);
    expect(announcedPath('PENDING', 'CANCELLED', false)).toEqual(['CANCELLED']);
    expect(announcedPath('RUNNING', 'RUNNING', true)).toEqual([]);
  });

  it('always end where the job is, name nothing twice and stay active on the way', () => {
    fc.assert(fc.property(fc.constantFrom(...JOB_STATES), fc.constantFrom(...JOB_STATES), fc.boolean(), (from, to, started) => {
      const path = announcedPath(from, to, started);
      expect(path.at(-1)).toBe(from === to ? undefined : to);
      expect(new Set(path).size).toBe(path.length);
      for (const state of path.slice(0, -1)) expect(ACTIVE_JOB_STATES).toContain(state);
    }));
  });
});

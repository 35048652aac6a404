import { describe, expect, test } from 'vitest';
import fc from 'fast-check';
import {
  confirmEnd, decideAttemptChange, LOST_AFTER_SECONDS, parseExitRecord, type ExitRecord, type KnownAttempt, type SeenAttempt,
} from '../../src/domain/attempt-change.ts';
import { diagnoseFailure } from '../../src/domain/diagnosis/diagnose.ts';
import { announcedPath, isTerminalAttemptState } from '../../src/domain/states.ts';

const pending: KnownAttempt = {
  state: 'PENDING', reason: null, slurmJobId: '7_1', nodeList: null, estimatedStartAt: null, startedAt: null, timeLimitMinutes: 10, cancelRequested: false,
};
const seen = (change: Partial<SeenAttempt>): SeenAttempt => ({
  slurmJobId: '7_1', state: 'RUNNING', reason: null, nodeList: 'n1', exitCode: null, signal: null, estimatedStartAt: null, startedAt: new Date(1000), finishedAt: null,
  elapsedSeconds: null, maxRssBytes: null, ...change,
});
const record = (change: Partial<ExitRecord>): ExitRecord => ({
  attempt: 1, exitCode: 0, signal: null, terminated: false, warned: false, startedAt: new Date(1000), finishedAt: new Date(5000), host: 'n1', ...change,
});

describe('the forecast of the start', () => {
  const forecast = (known: Date | null, estimatedStartAt: Date | null) =>
    decideAttemptChange({ ...pending, estimatedStartAt: known }, seen({ state: 'PENDING', nodeList: null, startedAt: null, estimatedStartAt }), null, 0);
  const noon = new Date('2026-01-01T12:00:00Z');
  const later = (minutes: number) => new Date(noon.getTime() + minutes * 60_000);

  test('is taken up, follows what moves it by much, and does not follow its drift', () => {
    expect(forecast(null, noon)).toMatchObject({ state: 'PENDING', estimatedStartAt: noon });
    expect(forecast(noon, later(60))).toMatchObject({ estimatedStartAt: later(60) });
    expect(forecast(noon, later(3))).toBeNull();
    expect(forecast(noon, null)).toMatchObject({ estimatedStartAt: null });
  });

  test('is gone once the job has started', () => {
    expect(decideAttemptChange({ ...pending, estimatedStartAt: noon }, seen({}), null, 0)).toMatchObject({ state: 'RUNNING', estimatedStartAt: null });
  });
});

describe('what evidence changes about an attempt', () => {
  test('nothing seen for a moment is not a fact', () => {
    expect(decideAttemptChange(pending, null, null, 5)).toBeNull();
  });

  test('nothing seen for long enough, and no exit record, is LOST with the reason in words', () => {
    expect(decideAttemptChange(pending, null, null, LOST_AFTER_SECONDS)).toMatchObject({ state: 'LOST', reason: expect.stringContaining('10 minutes') });
  });

  test('an attempt whose submission is not yet resolved is never LOST', () => {
    expect(decideAttemptChange({ ...pending, state: 'SUBMITTING' }, null, null, LOST_AFTER_SECONDS * 2)).toBeNull();
  });

  test('evidence that comes later overrules LOST', () => {
    expect(decideAttemptChange({ ...pending, state: 'LOST' }, seen({ state: 'COMPLETED', exitCode: 0 }), null, 0)).toMatchObject({ state: 'COMPLETED' });
  });

  test('where accounting is silent the exit record decides', () => {
    expect(decideAttemptChange(pending, null, record({}), 60)).toMatchObject({ state: 'COMPLETED', exitCode: 0, elapsedSeconds: 4, nodeList: 'n1' });
    expect(decideAttemptChange(pending, null, record({ exitCode: 3 }), 60)).toMatchObject({ state: 'FAILED', exitCode: 3, reason: 'exit code 3' });
  });

  test('a killed job that somebody asked to cancel was cancelled, not failed', () => {
    const killed = record({ exitCode: 143, signal: 15 });
    expect(decideAttemptChange({ ...pending, cancelRequested: true }, null, killed, 60)).toMatchObject({ state: 'CANCELLED' });
    expect(decideAttemptChange(pending, null, killed, 60)).toMatchObject({ state: 'FAILED', reason: 'killed by signal 15' });
  });

  test('the scheduler has the last word on the state, the exit record fills what it does not say', () => {
    const change = decideAttemptChange(pending, seen({ state: 'TIMEOUT', nodeList: 'n2' }), record({ exitCode: 143, signal: 15 }), 0);
    expect(change).toMatchObject({ state: 'TIMEOUT', reason: 'the time limit of 10 min was reached', exitCode: 143, nodeList: 'n2', finishedAt: new Date(5000) });
  });

  test('an exit code above 128 is that of the record: accounting shows 137 as 9', () => {
    expect(decideAttemptChange(pending, seen({ state: 'FAILED', exitCode: 9, signal: 0 }), record({ exitCode: 137, signal: 9 }), 0))
      .toMatchObject({ state: 'FAILED', exitCode: 137, signal: 9, reason: 'killed by signal 9' });
  });

  test('a job that gave up after the warning before its time limit says so', () => {
    const change = decideAttemptChange(pending, seen({ state: 'FAILED', exitCode: 5 }), record({ exitCode: 5, warned: true }), 0)!;
    expect(change).toMatchObject({ state: 'FAILED', reason: 'exit code 5 after the warning before its time limit' });
    expect(diagnoseFailure({ ...change, errorText: 'The command ended with exit code 5.', stderrTail: null, stdoutTail: null }, [])).toMatchObject({ class: 'TIME_LIMIT' });
  });

  test('the estimated start of a pending job is not its start', () => {
    expect(decideAttemptChange(pending, seen({ state: 'PENDING', reason: 'Resources', startedAt: new Date(9e12) }), null, 0))
      .toMatchObject({ state: 'PENDING', reason: 'Resources', startedAt: null });
  });

  test('the same fact twice changes nothing the second time', () => {
    const running = seen({});
    const change = decideAttemptChange(pending, running, null, 0)!;
    expect(decideAttemptChange({ ...pending, ...change }, running, null, 0)).toBeNull();
  });

  test('whatever order facts arrive in, with repeats, the attempt ends in the same state', () => {
    const facts = [seen({ state: 'PENDING', startedAt: null }), seen({ state: 'CONFIGURING' }), seen({}), seen({ state: 'COMPLETING' }), seen({ state: 'FAILED', exitCode: 2 })];
    fc.assert(fc.property(fc.shuffledSubarray([...facts, ...facts], { minLength: 10, maxLength: 10 }), (order) => {
      let known = pending;
      for (const fact of order) known = { ...known, ...decideAttemptChange(known, fact, null, 0) };
      expect(known).toMatchObject({ state: 'FAILED', reason: 'exit code 2' });
    }));
  });

  test('a terminal state never moves', () => {
    const end = { ...pending, state: 'COMPLETED' as const, startedAt: new Date(1000), nodeList: 'n1' };
    for (const state of ['PENDING', 'RUNNING', 'FAILED', 'NODE_FAIL'] as const) {
      const change = decideAttemptChange(end, seen({ state }), null, 0);
      expect(isTerminalAttemptState(change?.state ?? end.state) && (change?.state ?? end.state) === 'COMPLETED').toBe(true);
    }
  });
});

describe('what is learnt from the files of a job while the scheduler is not asked', () => {
  const start = { startedAt: new Date(1500), host: 'n1' };
  const unasked = (known: KnownAttempt, exitRecord: ExitRecord | null) => decideAttemptChange(known, null, exitRecord, null, start);

  test('a script that has begun is RUNNING since then, and a second look changes nothing', () => {
    const change = unasked(pending, null)!;
    expect(change).toMatchObject({ state: 'RUNNING', startedAt: new Date(1500), nodeList: 'n1' });
    expect(unasked({ ...pending, ...change }, null)).toBeNull();
    expect(unasked({ ...pending, state: 'SUSPENDED' }, null)).toBeNull();
  });

  test('exit code 0 is COMPLETED at once, though the queue may still list the job', () => {
    expect(unasked(pending, record({}))).toMatchObject({ state: 'COMPLETED', startedAt: new Date(1000), finishedAt: new Date(5000) });
    expect(decideAttemptChange(pending, seen({ state: 'COMPLETING' }), record({}), 0)).toMatchObject({ state: 'COMPLETED' });
  });

  test('any other end, one after TERM, and one that somebody asked for, wait for the word of the scheduler', () => {
    const running = { ...pending, state: 'RUNNING' as const };
    expect(unasked(running, record({ exitCode: 1 }))).toBeNull();
    expect(unasked(running, record({ terminated: true }))).toBeNull();
    expect(unasked({ ...running, cancelRequested: true }, record({}))).toBeNull();
    expect(decideAttemptChange(running, seen({ state: 'COMPLETING' }), record({ terminated: true }), 0)).toMatchObject({ state: 'COMPLETING' });
  });

  test('silence while nobody asks is never LOST', () => {
    expect(decideAttemptChange(pending, null, null, null)).toBeNull();
  });
});

describe('the word of the scheduler on an attempt that has ended', () => {
  const ended = { ...pending, state: 'COMPLETED' as const, startedAt: new Date(1000), nodeList: 'n1', maxRssBytes: null };

  test('fills in what the exit record does not know', () => {
    expect(confirmEnd(ended, seen({ state: 'COMPLETED', maxRssBytes: 5000, elapsedSeconds: 4 }), record({}))).toMatchObject({ state: 'COMPLETED', maxRssBytes: 5000, elapsedSeconds: 4, exitCode: 0 });
  });

  test('stands where the two differ', () => {
    expect(confirmEnd(ended, seen({ state: 'OUT_OF_MEMORY' }), record({}))).toMatchObject({ state: 'OUT_OF_MEMORY', reason: 'the memory limit of the job was exceeded' });
  });

  test('changes nothing when it is the same, or when it has not noticed the end', () => {
    expect(confirmEnd(ended, seen({ state: 'COMPLETED' }), record({}))).toBeNull();
    expect(confirmEnd(ended, seen({ state: 'COMPLETING', maxRssBytes: 5000 }), record({}))).toBeNull();
  });

  test('in whatever order pushed and polled facts arrive, with repeats, the attempt ends as the scheduler says', () => {
    const running = seen({});
    const facts = (end: SeenAttempt, exit: ExitRecord) => [
      (known: KnownAttempt) => decideAttemptChange(known, null, null, null, { startedAt: new Date(900), host: 'n1' }),
      (known: KnownAttempt) => decideAttemptChange(known, running, null, 0),
      (known: KnownAttempt) => decideAttemptChange(known, null, exit, null),
      (known: KnownAttempt) => decideAttemptChange(known, running, exit, 0),
      (known: KnownAttempt) => (isTerminalAttemptState(known.state) ? confirmEnd({ ...known, maxRssBytes: null }, end, exit) : decideAttemptChange(known, end, exit, 0)),
    ];
    const ends = fc.constantFrom('COMPLETED' as const, 'TIMEOUT' as const, 'CANCELLED' as const, 'OUT_OF_MEMORY' as const, 'NODE_FAIL' as const);
    fc.assert(fc.property(ends, fc.boolean(), fc.constantFrom(0, 143), fc.infiniteStream(fc.nat(4)), (state, terminated, exitCode, order) => {
      const all = facts(seen({ state }), record({ exitCode, terminated }));
      let known = pending;
      for (const index of [...order.take(8), 4]) known = { ...known, ...all[index]!(known) };
      expect(known.state).toBe(state);
    }));
  });
});

describe('the exit record', () => {
  test('is read field by field, and a wrong field is null', () => {
    expect(parseExitRecord('{"attempt":2,"exitCode":1,"signal":null,"startedAt":"2026-01-01T00:00:00.000Z","finishedAt":"never","host":"n1"}'))
      .toEqual({ attempt: 2, exitCode: 1, signal: null, terminated: false, warned: false, startedAt: new Date('2026-01-01T00:00:00Z'), finishedAt: null, host: 'n1' });
  });
  test.each(['', '{"attempt":', 'null', '[]', '{"exitCode":0}'])('%j is none', (text) => {
    expect(parseExitRecord(text)).toBeNull();
  });
});

describe('the steps that are announced', () => {
  test('a short run that no poll caught is announced as RUNNING all the same', () => {
    expect(announcedPath('PENDING', 'COMPLETED', true)).toEqual(['RUNNING', 'COMPLETED']);
    expect(announcedPath('SUBMITTING', 'FAILED', true)).toEqual(['PENDING', 'RUNNING', 'FAILED']);
  });
  test('a job that never started is not announced as RUNNING', () => {
    expect(announcedPath('PENDING', 'CANCELLED', false)).toEqual(['CANCELLED']);
  });
  test('nothing is announced for no change, and LOST may be overruled', () => {
    expect(announcedPath('RUNNING', 'RUNNING', true)).toEqual([]);
    expect(announcedPath('LOST', 'COMPLETED', true)).toEqual(['COMPLETED']);
  });
});

import { describe, expect, test } from 'vitest';
import type { Observation, TrackedAttempt } from '../../../src/cluster/executor.ts';
import { BY_DEPENDENCY, VanishedTasks, withDependencies, withQueueReason } from '../../../src/cluster/slurm/cancellations.ts';
import { parseQueue, type JobRow } from '../../../src/cluster/slurm/parse.ts';

const task = (taskIndex: number, change: Partial<TrackedAttempt> = {}): TrackedAttempt => ({
  token: 'eg-a', taskIndex, taskCount: 3, slurmJobId: `7_${taskIndex}`, jobDirectory: '/j', attemptNumber: 1, submittedAt: new Date(0), timeLimitMinutes: null, startedAt: null,
  restart: 0, ...change,
});
const siblings = parseQueue('7_0|PENDING|BeginTime||N/A|N/A|10:00|0:00|eg-a\n', () => true).rows;

describe('a waiting task that is missing from its array', () => {
  test('was cancelled once it has been missing for longer than accounting lags', () => {
    const vanished = new VanishedTasks();
    expect(vanished.cancelled([task(1)], siblings, 0)).toEqual([]);
    expect(vanished.cancelled([task(1)], siblings, 29_000)).toEqual([]);
    expect(vanished.cancelled([task(1)], siblings, 30_000)).toMatchObject([{ taskIndex: 1, slurmJobId: '7_1', state: 'CANCELLED', reason: 'taken out of its waiting array' }]);
  });

  test('is given the time anew when it was seen in between', () => {
    const vanished = new VanishedTasks();
    vanished.cancelled([task(1)], siblings, 0);
    vanished.cancelled([], siblings, 20_000);
    expect(vanished.cancelled([task(1)], siblings, 31_000)).toEqual([]);
  });

  test('is only absent when it has started, or when nothing is known of its array either', () => {
    const cases: [TrackedAttempt, JobRow[]][] = [[task(1, { startedAt: new Date(0) }), siblings], [task(1), []], [task(1, { slurmJobId: '8_1' }), siblings]];
    for (const [attempt, rows] of cases) {
      const vanished = new VanishedTasks();
      vanished.cancelled([attempt], rows, 0);
      expect(vanished.cancelled([attempt], rows, 60_000)).toEqual([]);
    }
  });
});

test('a job that nobody cancelled was cancelled for its dependency, if the queue says so', () => {
  const seen = (reason: string | null): Observation => ({
    token: 'eg-a', taskIndex: 0, slurmJobId: '7', state: 'CANCELLED', reason, nodeList: null, exitCode: null, signal: null, estimatedStartAt: null, startedAt: null, finishedAt: null,
    elapsedSeconds: null, maxRssBytes: null, earlierRuns: [],
  });
  expect(withQueueReason(seen(null), seen('DependencyNeverSatisfied')).reason).toBe('DependencyNeverSatisfied');
  expect(withQueueReason(seen('by user id 1000'), seen('DependencyNeverSatisfied')).reason).toBe('by user id 1000');
  expect(withQueueReason(seen(null), seen('BeginTime')).reason).toBeNull();
});

describe('a job that was cancelled before its start, by nobody', () => {
  const cancelled = (slurmJobId: string, change: Partial<Observation> = {}): Observation => ({
    token: `eg-${slurmJobId}`, taskIndex: 0, slurmJobId, state: 'CANCELLED', reason: null, nodeList: null, exitCode: null, signal: null, estimatedStartAt: null, startedAt: null,
    finishedAt: null, elapsedSeconds: null, maxRssBytes: null, earlierRuns: [], ...change,
  });
  const squeue = (stdout: string) => {
    const asked: string[][] = [];
    const exec = async (argv: string[]) => {
      asked.push(argv);
      return { exitCode: 0, signal: null, stdout: Buffer.from(stdout), stderr: Buffer.alloc(0) };
    };
    return { asked, exec };
  };

  test('has the reason if its dependency failed, whatever the queue says it waited for', async () => {
    const transport = squeue('7|afterok:6(failed)\n8|(null)\n9|afterok:6(unfulfilled)\n');
    const seen = await withDependencies(transport, ['7', '8', '9'].map((id) => cancelled(id)));
    expect(seen.map(({ reason }) => reason)).toEqual([BY_DEPENDENCY, null, null]);
    expect(transport.asked).toHaveLength(1);
  });

  test('is asked about only where the reason is not known', async () => {
    const transport = squeue('');
    const known = [cancelled('7', { reason: 'by user id 1000' }), cancelled('8', { startedAt: new Date(0) }), cancelled('9', { state: 'COMPLETED' })];
    expect(await withDependencies(transport, known)).toEqual(known);
    expect(transport.asked).toEqual([]);
  });
});

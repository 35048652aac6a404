import type { RetryObstacle } from '../../domain/checkpoint-requests/resume-problem.ts';
import { ROLLED_UP_PROBLEM } from '../../domain/metric-retention.ts';
import type { Reader } from '../database.ts';
import { readRolledUpIds } from '../write/job-changes.ts';
import { resumeProblems } from './checkpoints.ts';

/**
 * What keeps jobs from a new attempt, by job: only a roll-up is left of their metrics, or, unless that is to be ignored, they would not
 * go on from their last checkpoint as that is archived, or about to be. Holds for as long as the caller has the jobs locked.
 */
export async function readRetryObstacles(reader: Reader, jobs: Parameters<typeof readRolledUpIds>[1], { ignoreArchived }: { ignoreArchived: boolean }): Promise<Map<string, RetryObstacle>> {
  const away = ignoreArchived ? [] : await resumeProblems(reader, jobs.map(({ jobId }) => jobId));
  const rolledUp = [...await readRolledUpIds(reader, jobs)].map((jobId): [string, RetryObstacle] => [jobId, { reason: ROLLED_UP_PROBLEM, isPassing: false }]);
  return new Map([...away, ...rolledUp]);
}

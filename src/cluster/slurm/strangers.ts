/** Finds in the queue what goes by a token of ours and is none of the attempts asked about. */
import { isBatchToken } from '../../domain/batching.ts';
import { isTerminalAttemptState } from '../../domain/states.ts';
import type { Observation, Stranger } from '../executor.ts';
import type { JobRow } from './parse.ts';

/**
 * @param rows of the queue
 * @param known what the same rows say of the attempts asked about
 * @param endedAgain ids of jobs and array tasks that have ended and are strangers all the same
 */
export function strangersIn(rows: JobRow[], known: Observation[], endedAgain: ReadonlySet<string>): Stranger[] {
  const knownIds = new Set(known.map(({ slurmJobId }) => slurmJobId));
  return rows.flatMap((row): Stranger[] => {
    const { jobName, baseId, taskIndexes, state, submittedAt, nodeList } = row;
    if (!isBatchToken(jobName)) return [];
    const isStranger = (id: string): boolean => !knownIds.has(id) && (!isTerminalAttemptState(state) || endedAgain.has(id));
    const unknown = taskIndexes?.filter((index) => isStranger(`${baseId}_${index}`)) ?? null;
    if (unknown === null ? !isStranger(baseId) : unknown.length === 0) return [];
    return [{ token: jobName, slurmJobId: baseId, taskIndexes: unknown, state, submittedAt, nodeList }];
  });
}

/**
 * Jobs in the queue that have ended, which SLURM lists for a few minutes more. One that was put back and has ended again between two looks
 * shows by its time of submission alone.
 */
export class EndedJobs {
  /** Milliseconds, by id: of the run after which it was first seen to have ended. */
  #submittedAt = new Map<string, number>();

  /** Takes in a listing of the queue. Answers the ids of those that have run again since they were first seen to have ended. */
  endedAgain(rows: JobRow[]): ReadonlySet<string> {
    const before = this.#submittedAt;
    this.#submittedAt = new Map();
    const again = new Set<string>();
    for (const row of rows) {
      if (!isTerminalAttemptState(row.state) || row.submittedAt === null) continue;
      const submittedAt = row.submittedAt.getTime();
      // One by one: SLURM may group the tasks of an array otherwise the next time.
      for (const id of row.taskIndexes?.map((index) => `${row.baseId}_${index}`) ?? [row.baseId]) {
        const first = before.get(id) ?? submittedAt;
        this.#submittedAt.set(id, first);
        if (submittedAt > first) again.add(id);
      }
    }
    return again;
  }
}

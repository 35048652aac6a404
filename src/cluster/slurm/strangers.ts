/** Finds in the queue what goes by a token of ours and is none of the attempts asked about. */
import { isBatchToken } from '../../domain/batching.ts';
import { isTerminalAttemptState } from '../../domain/states.ts';
import type { Observation, Stranger } from '../executor.ts';
import type { JobRow } from './parse.ts';

/**
 * @param rows of the queue
 * @param known what the same rows say of the attempts asked about
 */
export function strangersIn(rows: JobRow[], known: Observation[]): Stranger[] {
  const knownIds = new Set(known.map(({ slurmJobId }) => slurmJobId));
  return rows.flatMap(({ jobName, baseId, taskIndexes, state, submittedAt, nodeList }): Stranger[] => {
    if (isTerminalAttemptState(state) || !isBatchToken(jobName)) return [];
    const unknown = taskIndexes?.filter((index) => !knownIds.has(`${baseId}_${index}`)) ?? null;
    if (unknown === null ? knownIds.has(baseId) : unknown.length === 0) return [];
    return [{ token: jobName, slurmJobId: baseId, taskIndexes: unknown, state, submittedAt, nodeList }];
  });
}

/** Reads from a job's files that its script has begun to run. */
import type { StartRecord } from '../domain/attempt-change.ts';
import type { JsonObject } from '../domain/job-spec.ts';

/**
 * Null when the start guard belongs to somebody else: a second submission of the same attempt, of which the scheduler speaks under another id.
 * @param owner content of the guard's owner file
 * @param notes lines of events.jsonl that were read along with it
 */
export function readStart(
  { slurmJobId, attemptNumber }: { slurmJobId: string | null; attemptNumber: number }, owner: string, ownerWrittenAt: Date | null, notes: JsonObject[],
): StartRecord | null {
  // A local id is `pid.startTicks`, of which the script knows the first half.
  const isOurs = slurmJobId !== null && [`slurm ${slurmJobId}`, `pid ${slurmJobId.split('.')[0]}`].includes(owner.trim());
  if (!isOurs || ownerWrittenAt === null) return null;
  const note = notes.findLast((line) => line['event'] === 'started' && line['attempt'] === attemptNumber);
  const notedAt = new Date(typeof note?.['time'] === 'string' ? note['time'] : NaN);
  return {
    startedAt: Number.isNaN(notedAt.getTime()) ? ownerWrittenAt : notedAt,
    host: typeof note?.['host'] === 'string' ? note['host'] : null,
  };
}

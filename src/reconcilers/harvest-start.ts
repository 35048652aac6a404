/** Reads from a job's files that its script has begun to run. */
import type { StartRecord } from '../domain/attempt-change.ts';
import type { JsonObject } from '../domain/job-spec.ts';
import { parseMetricTime } from '../domain/metric-time.ts';
import { parseGuardOwner, type GuardOwner } from '../domain/start-guard.ts';

export interface FoundStart extends StartRecord {
  /** Another id than the attempt's where a second submission was the first to run. */
  owner: GuardOwner;
}

/**
 * Null when nobody holds the start guard.
 * @param ownerText content of the guard's owner file
 * @param notes lines of events.jsonl that were read along with it
 */
export function readStart(
  attemptNumber: number, ownerText: string, ownerWrittenAt: Date | null, notes: JsonObject[],
): FoundStart | null {
  const owner = parseGuardOwner(ownerText);
  if (owner === null || ownerWrittenAt === null) return null;
  const note = notes.findLast((line) => line['event'] === 'started' && line['attempt'] === attemptNumber);
  return {
    owner,
    startedAt: parseMetricTime(note?.['time']) ?? ownerWrittenAt,
    host: typeof note?.['host'] === 'string' ? note['host'] : null,
  };
}

/** The start of the attempt's own execution; null when there is none, or when it is another's. */
export function ownStart({ slurmJobId }: { slurmJobId: string | null }, start: FoundStart | null): StartRecord | null {
  if (start === null || slurmJobId === null) return null;
  // A local id is `pid.startTicks`, of which the script knows the first half.
  const { owner } = start;
  return owner.slurmJobId === slurmJobId || String(owner.pid) === slurmJobId.split('.')[0] ? start : null;
}

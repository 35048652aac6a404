/**
 * Which jobs to watch first where there are more than can be watched: those that may write something soonest. The order depends on nothing
 * else, so that it is the same from one look to the next: a job that leaves it lets one other in.
 */
import type { TrackedAttemptRow } from '../db/read/tracked-attempts.ts';

type Ordered = Pick<TrackedAttemptRow, 'jobId' | 'state' | 'heldOnCluster' | 'submittedAt' | 'taskIndex'>;

/** Running ones, then those that wait, longest first, then those that are held, then lost ones. */
export function inWatchOrder<Row extends Ordered>(rows: readonly Row[]): Row[] {
  return [...rows].sort((a, b) => turnOf(a) - turnOf(b)
    || a.submittedAt.getTime() - b.submittedAt.getTime() || a.taskIndex - b.taskIndex || (a.jobId < b.jobId ? -1 : 1));
}

function turnOf({ state, heldOnCluster }: Ordered): number {
  if (state === 'LOST') return 3;
  // One that was suspended goes on when the job before which it stepped back has ended.
  if (state !== 'PENDING') return 0;
  return heldOnCluster ? 2 : 1;
}

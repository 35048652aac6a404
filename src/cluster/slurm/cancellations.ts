/**
 * Cancellations of which accounting says too little.
 *
 * A job that SLURM cancels itself, because of its dependency, is CANCELLED by nobody; only the queue has the reason, for some minutes. And
 * that may be overwritten with what the scheduler took it to wait for; what became of its dependency is there to see nevertheless.
 *
 * A task of a waiting array that somebody cancels by hand, before SLURM gave it a record of its own, leaves no trace: the rest of its array
 * is listed without it. Had it ever run, accounting would have a row of it. So what never started, and is missing for a while from an
 * array that is listed, was cancelled.
 */
import type { Observation, TrackedAttempt } from '../executor.ts';
import type { Transport } from '../transport.ts';
import { dependencyCommands } from './commands.ts';
import type { JobRow } from './parse.ts';

/** The reason of the queue for an end of its own making. */
export const BY_DEPENDENCY = 'DependencyNeverSatisfied';

/** What accounting says of an end, with the queue's reason for it. */
export function withQueueReason<Seen extends Observation>(accounted: Seen, inQueue: Observation | undefined): Seen {
  const lacksReason = accounted.state === 'CANCELLED' && accounted.reason === null && inQueue?.reason === BY_DEPENDENCY;
  return lacksReason ? { ...accounted, reason: BY_DEPENDENCY } : accounted;
}

/** Gives those that nobody is said to have cancelled, and that never started, the reason if it was their dependency. Asks for it only where there are such. */
export async function withDependencies(transport: Pick<Transport, 'exec'>, observations: Observation[]): Promise<Observation[]> {
  const unexplained = observations.filter(({ state, reason, startedAt }) => state === 'CANCELLED' && reason === null && startedAt === null);
  const failed = new Set<string>();
  for (const command of dependencyCommands(unexplained.map(({ slurmJobId }) => slurmJobId))) {
    // Of jobs that it no longer knows squeue says nothing, or that they are invalid.
    const listed = (await transport.exec(command)).stdout.toString('utf8').split('\n');
    for (const line of listed) if (line.includes('(failed)')) failed.add(line.split('|', 1)[0] ?? '');
  }
  return observations.map((seen) => (unexplained.includes(seen) && failed.has(seen.slurmJobId) ? { ...seen, reason: BY_DEPENDENCY } : seen));
}

/** Accounting may lag behind the controller for some seconds. */
const MISSING_MS = 30_000;

export class VanishedTasks {
  readonly #missingSince = new Map<string, number>();

  /**
   * Answers which of the attempts were cancelled.
   * @param absent attempts that neither the queue nor accounting, which answered in full, has a row for
   * @param rows all that both say of their arrays
   */
  cancelled(absent: TrackedAttempt[], rows: JobRow[], nowMs: number): Observation[] {
    const arrays = new Set(rows.map(({ jobName, baseId }) => `${jobName} ${baseId}`));
    const missing = absent.filter(({ token, slurmJobId, startedAt }) => startedAt === null && arrays.has(`${token} ${slurmJobId?.split('_')[0]}`));
    const ids = new Set(missing.map(idOf));
    for (const id of this.#missingSince.keys()) if (!ids.has(id)) this.#missingSince.delete(id);
    for (const id of ids) if (!this.#missingSince.has(id)) this.#missingSince.set(id, nowMs);
    return missing.filter((attempt) => nowMs - this.#missingSince.get(idOf(attempt))! >= MISSING_MS).map(({ token, taskIndex, slurmJobId }) => ({
      token, taskIndex, slurmJobId: slurmJobId ?? '', state: 'CANCELLED', reason: 'taken out of its waiting array', nodeList: null, exitCode: null, signal: null,
      estimatedStartAt: null, startedAt: null, finishedAt: null, elapsedSeconds: null, maxRssBytes: null, earlierRuns: [],
    }));
  }
}

function idOf({ token, taskIndex }: TrackedAttempt): string {
  return `${token} ${taskIndex}`;
}

/**
 * Where the cluster and the database disagree, and what a person may do about it. Nothing of this is ever done by itself: another
 * server, with another database, may be using the same account, and its jobs look just like ours.
 */
import type { AttemptState } from './states.ts';

/**
 * - `UNKNOWN_JOB`: the cluster has a job under a token of the form of ours, of which the database knows nothing
 * - `MISSING_ATTEMPT`: the database has an attempt that neither the queue, nor accounting, nor an exit record knows of
 */
export const ORPHAN_KINDS = ['UNKNOWN_JOB', 'MISSING_ATTEMPT'] as const;
export type OrphanKind = (typeof ORPHAN_KINDS)[number];

export const ORPHAN_ACTIONS = ['ADOPT', 'CANCEL', 'MARK_LOST', 'IGNORE'] as const;
export type OrphanAction = (typeof ORPHAN_ACTIONS)[number];
/** What the reconciler carries out; IGNORE is a matter of the database alone. */
export type OrphanWish = Exclude<OrphanAction, 'IGNORE'>;

/** How long an attempt must be missing before it is shown: accounting lags behind the queue, and shared file systems behind both. */
export const MISSING_AFTER_SECONDS = 60;

/** What decides about the actions. */
export interface OrphanFacts {
  kind: OrphanKind;
  state: AttemptState;
  slurmJobId: string | null;
  /** Tasks of an unknown job that wait or run. */
  taskCount: number;
  /** Of an unknown job, as its script says; null while that was not read. */
  project: string | null;
  experiment: string | null;
  /** Why an unknown job's script does not tell where it belongs; null while that was not read, and when it does. */
  originProblem: string | null;
  attemptNumber: number | null;
  ignored: boolean;
}

/** Why the action is impossible, or null. */
export function orphanActionProblem(orphan: OrphanFacts, action: OrphanAction): string | null {
  switch (action) {
    case 'ADOPT':
      if (orphan.kind === 'MISSING_ATTEMPT') return 'the database knows this attempt, so there is nothing to adopt';
      return orphan.originProblem === null ? null : `it cannot be adopted: ${orphan.originProblem}`;
    case 'CANCEL': return orphan.kind === 'UNKNOWN_JOB' ? null : 'its cluster knows nothing of it, so there is nothing to cancel';
    case 'MARK_LOST':
      if (orphan.kind === 'UNKNOWN_JOB') return 'its cluster knows it, so it is not lost';
      return orphan.state === 'LOST' ? 'it is LOST already; retryJobs runs its job again' : null;
    case 'IGNORE': return orphan.ignored ? 'it is ignored already' : null;
  }
}

export function possibleOrphanActions(orphan: OrphanFacts): OrphanAction[] {
  return ORPHAN_ACTIONS.filter((action) => orphanActionProblem(orphan, action) === null);
}

/** What an action that is possible does, as a sentence. */
export function describeOrphanAction(orphan: OrphanFacts, action: OrphanAction): string {
  const job = `SLURM job ${orphan.slurmJobId ?? '?'}`;
  switch (action) {
    case 'ADOPT':
      return orphan.project === null ? `Reads the script of ${job} and records its jobs where they belong.`
        : `Records the jobs of ${job} in the experiment ${orphan.project}/${orphan.experiment}; from then on they are tracked like any others.`;
    case 'CANCEL': return `Cancels ${job} with ${orphan.taskCount === 1 ? 'its 1 task' : `all of its ${orphan.taskCount} tasks`} that wait or run.`;
    case 'MARK_LOST': return `Marks attempt ${orphan.attemptNumber ?? '?'} as LOST, so that its job can be tried again; evidence that comes later still overrules that.`;
    case 'IGNORE': return 'Leaves it out of the list unless ignored ones are asked for, too.';
  }
}

/** What is known of it, as a sentence or two for a person. */
export function explainOrphan(orphan: OrphanFacts): string {
  if (orphan.kind === 'MISSING_ATTEMPT') {
    return `Neither the queue, nor accounting, nor an exit record of its cluster knows of this attempt.${orphan.state === 'LOST' ? ' It counts as LOST.' : ''}`;
  }
  const origin = orphan.originProblem !== null ? `Where it belongs is not known: ${orphan.originProblem}.`
    : orphan.project === null ? 'Its script is still to be read.' : `Its script says that it belongs to ${orphan.project}/${orphan.experiment}.`;
  return `The cluster has this job, but the database knows nothing of it: the database may be older than the job, or another server uses the same account. ${origin}`;
}

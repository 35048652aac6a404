/**
 * The append-only log: one fact a row, in one order. It is the record of submissions, the feed of the subscriptions,
 * the wake-up call of the reconcilers and the audit trail. `payload` holds what the kind names below.
 */
import type { CheckpointAction, CheckpointItemState } from './checkpoint-requests/request.ts';
import type { AttemptState, JobState } from './states.ts';
import type { JsonObject } from './job-spec.ts';

export const EVENT_KINDS = [
  'EXPERIMENT_CREATED', 'SWEEP_CREATED', 'PROJECT_UPDATED',
  'JOB_STATE_CHANGED', 'ATTEMPT_STATE_CHANGED', 'JOB_UPDATED',
  'METRICS_APPENDED', 'CHECKPOINT_CHANGED', 'CHECKPOINT_REQUEST_CHANGED', 'NOTE', 'SECOND_EXECUTION',
] as const;
export type EventKind = (typeof EVENT_KINDS)[number];

export interface EventPayloads {
  EXPERIMENT_CREATED: Record<string, never>;
  SWEEP_CREATED: { jobCount: number };
  /** Settings of the project of the experiment were changed; once for each of its experiments. The reason says by whom, and to what. */
  PROJECT_UPDATED: { changed: string[]; reason: string };
  /** A new job arrives with `from: null`. */
  JOB_STATE_CHANGED: { from: JobState | null; to: JobState; reason: string | null };
  ATTEMPT_STATE_CHANGED: { from: AttemptState | null; to: AttemptState; reason: string | null; slurmJobId: string | null };
  /** A wish was recorded that is not a state change (priority, tags, cancel requested, ...), or something was learnt of it (`LEARNT_OF_JOB`). */
  JOB_UPDATED: {
    changed: string[];
    /** Where `stateReason` is among them: what it has become. */
    reason?: string | null;
  };
  /** The points now in the database, per key, as closed step intervals. */
  METRICS_APPENDED: { series: { key: string; firstStep: number; lastStep: number; count: number }[] };
  CHECKPOINT_CHANGED: { checkpointId: string; path: string; state: string };
  /** What was asked for on checkpoints of a job went on: PENDING when it was asked, then for each checkpoint RUNNING, DONE or FAILED (with the reason). */
  CHECKPOINT_REQUEST_CHANGED: {
    requestId: string; action: CheckpointAction; state: CheckpointItemState;
    /** Null for all of the job that are meant, as when it was asked. */
    checkpointId: string | null; count: number; reason: string | null;
  };
  /** A line the job wrote into `events.jsonl`. */
  NOTE: { note: JsonObject };
  /** Another execution of an attempt turned up; the reason says what became of it. Only one ever runs. */
  SECOND_EXECUTION: { slurmJobId: string; reason: string };
}

/**
 * What JOB_UPDATED names when nobody asked for it: times that were corrected while the state stayed, that the result came, changed or was withdrawn,
 * why it failed, and the job that its retry policy made of it.
 */
export const LEARNT_OF_JOB = ['startedAt', 'finishedAt', 'result', 'stateReason', 'retriedBy'] as const;

/** Whether somebody asked for a change that is not one of the state. */
export function isWish(event: Pick<LoggedEvent, 'kind' | 'payload'>): boolean {
  return event.kind === 'JOB_UPDATED' && !(event.payload as EventPayloads['JOB_UPDATED']).changed.every((name) => LEARNT_OF_JOB.some((learnt) => learnt === name));
}

/** An event that is about to be appended. */
export type NewEvent = {
  [Kind in EventKind]: {
    kind: Kind;
    experimentId: string;
    sweepId: string | null;
    jobId: string | null;
    attemptNumber: number | null;
    payload: EventPayloads[Kind];
  };
}[EventKind];

/** An event as it stands in the log. `seq` grows by commit order and is the cursor. */
export type LoggedEvent = NewEvent & { seq: number; at: Date };

/** Which events may be meant. All conditions that are given must hold; an empty list matches nothing. */
export interface EventCondition {
  kinds?: readonly EventKind[];
  experimentIds?: readonly string[];
  sweepIds?: readonly string[];
  jobIds?: readonly string[];
}

/** Enums that several nouns share. */
import { registerEnumType } from 'type-graphql';
import type { BreakerState } from '../domain/breaker-status.ts';
import type { ClusterKind } from '../domain/cluster-settings.ts';
import type { EventKind } from '../domain/events.ts';
import type { SummaryPoint } from '../domain/job-filter.ts';
import type { Goal } from '../domain/job-spec.ts';
import type { AttemptState, JobState } from '../domain/states.ts';
import { enumOf, type EnumDefinition } from './enum.ts';

function registered<Value extends string>(name: string, description: string, definition: EnumDefinition<Value>): EnumDefinition<Value>['values'] {
  registerEnumType(definition.values, { name, description, valuesConfig: definition.descriptions });
  return definition.values;
}

export const JobStateEnum = registered('JobState', 'Where a job stands.', enumOf<JobState>({
  HELD: 'Waits until it is released.',
  QUEUED: 'Waits in our queue to be submitted, highest priority first.',
  SUBMITTING: 'Being handed to its cluster; whether the cluster has it is not known yet.',
  PENDING: 'Waits in the queue of its cluster.',
  RUNNING: 'Runs.',
  COMPLETED: 'Ended well.',
  FAILED: 'Ended badly; see `stateReason`.',
  CANCELLED: 'Was cancelled.',
  LOST: 'Gone from its cluster without evidence of how it ended; later evidence may still tell.',
}));

export const AttemptStateEnum = registered('AttemptState', 'Where one execution of a job stands, as its cluster tells it.', enumOf<AttemptState>({
  SUBMITTING: 'Being handed to its cluster.',
  PENDING: 'In the queue of its cluster.',
  CONFIGURING: 'Has its nodes, which are being made ready.',
  RUNNING: 'Runs.',
  SUSPENDED: 'Stopped for now; goes on later.',
  COMPLETING: 'Ended; its nodes are being cleaned up.',
  COMPLETED: 'Ended with exit code 0.',
  FAILED: 'Ended with another exit code or by a signal.',
  CANCELLED: 'Was cancelled.',
  TIMEOUT: 'Was ended at its time limit.',
  OUT_OF_MEMORY: 'Used more memory than it asked for.',
  NODE_FAIL: 'A node it ran on failed.',
  PREEMPTED: 'Had to make room for another.',
  DEADLINE: 'Could not have ended before its deadline.',
  BOOT_FAIL: 'Its nodes did not boot.',
  REVOKED: 'Withdrawn, because another cluster of a federation took it.',
  LOST: 'Gone without evidence of how it ended.',
}));

export const GoalEnum = registered('Goal', 'Which way a metric is better.', enumOf<Goal>({
  MIN: 'Smaller is better, as of a loss.',
  MAX: 'Greater is better, as of an accuracy.',
}));

export const SummaryPointEnum = registered('SummaryPoint', "Which of a metric's values stands for its whole history.", enumOf<SummaryPoint>({
  LAST: 'The finite value at the highest step.',
  MIN: 'The least finite value.',
  MAX: 'The greatest finite value.',
}));

export const OrderDirectionEnum = registered('OrderDirection', 'Which way a list is sorted. What has no value comes last either way.',
  enumOf<'ASC' | 'DESC'>({ ASC: 'Smallest, earliest or alphabetically first at the top.', DESC: 'Greatest or latest at the top.' }));

export const ClusterKindEnum = registered('ClusterKind', 'What runs the jobs of a cluster.', enumOf<ClusterKind>({
  SLURM: 'SLURM, over SSH or on this machine.',
  LOCAL: 'Processes on the machine of the server.',
}));

export const WatchStateEnum = registered('WatchState', 'How we learn what the jobs of a cluster do.', enumOf<'LIVE' | 'POLLING'>({
  LIVE: 'It is pushed to us at once; polling is the backstop.',
  POLLING: 'We ask now and then.',
}));

export const BreakerStateEnum = registered('BreakerState', 'Whether calls to a cluster are tried.', enumOf<BreakerState>({
  CLOSED: 'They are.',
  OPEN: 'After failures in a row it is left alone until the next try.',
  HALF_OPEN: 'One call tries whether it answers again; the others wait for that.',
}));

export const EventKindEnum = registered('EventKind', 'What an event tells.', enumOf<EventKind>({
  EXPERIMENT_CREATED: 'An experiment was created.',
  SWEEP_CREATED: 'A sweep was submitted; its jobs follow as events of their own.',
  PROJECT_UPDATED: 'Settings of the project were changed: told once for each of its experiments; `reason` says by whom, and to what.',
  JOB_STATE_CHANGED: 'A job was created or changed its state.',
  ATTEMPT_STATE_CHANGED: 'An attempt began or changed its state.',
  JOB_UPDATED: 'Something else about a job changed: priority, tags, a wish to cancel or hold it, its result, or when it started or ended.',
  METRICS_APPENDED: 'Metric values of a job arrived.',
  CHECKPOINT_CHANGED: 'A checkpoint appeared, grew whole, was archived or restored, or vanished.',
  CHECKPOINT_REQUEST_CHANGED: 'Something was asked for on checkpoints of the job (`requestState` PENDING), or went on for one of them.',
  NOTE: 'The job wrote a line into its `events.jsonl`.',
  SECOND_EXECUTION: 'The cluster had a second execution of an attempt; `reason` says what became of it. Only one ever runs.',
}));

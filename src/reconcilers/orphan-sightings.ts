/** What a look at a cluster shows, as rows of the table of orphans. Pure. */
import type { Stranger } from '../cluster/executor.ts';
import type { SeenOrphan } from '../db/write/orphans.ts';
import type { AttemptState } from '../domain/states.ts';
import type { AbsentAttempt } from './observe.ts';

/** A large array may run on every node. */
const MAX_NODE_LIST_LENGTH = 1_000;
/** An array is shown in the state of the task that is furthest along. */
const FURTHEST_FIRST: readonly AttemptState[] = ['RUNNING', 'COMPLETING', 'SUSPENDED', 'CONFIGURING', 'PENDING'];

/** One orphan an array or single job. */
export function unknownOrphans(strangers: readonly Stranger[], now: Date): SeenOrphan[] {
  const byId = new Map<string, Stranger[]>();
  for (const stranger of strangers) {
    const tasks = byId.get(stranger.slurmJobId);
    if (tasks === undefined) byId.set(stranger.slurmJobId, [stranger]);
    else tasks.push(stranger);
  }
  return [...byId].map(([slurmJobId, tasks]) => {
    const states = new Set(tasks.map(({ state }) => state));
    const nodes = [...new Set(tasks.flatMap(({ nodeList }) => nodeList ?? []))].sort();
    return {
      kind: 'UNKNOWN_JOB', key: slurmJobId, token: tasks[0]!.token, slurmJobId,
      state: FURTHEST_FIRST.find((state) => states.has(state)) ?? tasks[0]!.state,
      taskCount: tasks.reduce((sum, { taskIndexes }) => sum + (taskIndexes?.length ?? 1), 0),
      nodeList: nodes.length === 0 ? null : nodes.join(',').slice(0, MAX_NODE_LIST_LENGTH),
      since: now, submittedAt: tasks[0]!.submittedAt, jobId: null, attemptNumber: null,
    };
  });
}

export function missingOrphan({ row, since }: AbsentAttempt): SeenOrphan {
  const { jobId, attemptNumber, token, slurmJobId, state, nodeList, submittedAt } = row;
  return {
    kind: 'MISSING_ATTEMPT', key: `${jobId}/${attemptNumber}`, token, slurmJobId, state, taskCount: 1, nodeList, since: new Date(since), submittedAt, jobId, attemptNumber,
  };
}

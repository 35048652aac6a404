/** Whether a job that is tried again finds the checkpoint that it would go on from, and what is to be done where it does not. */
import type { CheckpointAction } from './request.ts';

/** The last whole checkpoint of a job, archived or not. */
export interface LastWhole {
  id: string;
  /** Absolute path on the cluster. */
  path: string;
  isArchived: boolean;
  /** The request about it that is still to be carried out; null when there is none. */
  request: { id: string; action: CheckpointAction } | null;
}

/** What keeps a job from a new attempt. */
export interface RetryObstacle {
  /** In words that say what to do about it. */
  reason: string;
  /** It is a request that is still to be carried out: what comes of that is not known yet. */
  isPassing: boolean;
}

/** Why a new attempt would not go on from it; null when it would. */
export function resumeProblem({ id, path, isArchived, request }: LastWhole): RetryObstacle | null {
  const what = `its last checkpoint ${path}`;
  if (request?.action === 'RESTORE') return { isPassing: true, reason: `${what} is being restored from its archive: retry it when request ${request.id} is DONE` };
  if (request !== null && (request.action === 'ARCHIVE' || request.action === 'DELETE')) {
    const verb = request.action === 'ARCHIVE' ? 'archived' : 'deleted';
    return { isPassing: true, reason: `${what} is about to be ${verb}: withdraw that with cancelCheckpointRequest(input: { id: "${request.id}" }), or retry it with ignoreArchived: true` };
  }
  if (!isArchived) return null;
  return { isPassing: false, reason: `${what} is archived: restore it first with restoreCheckpoints(input: { ids: ["${id}"] }), or retry it with ignoreArchived: true` };
}

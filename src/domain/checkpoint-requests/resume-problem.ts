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

/** Why a new attempt would not go on from it, and what to do, in words; null when it would. */
export function resumeProblem({ id, path, isArchived, request }: LastWhole): string | null {
  const what = `its last checkpoint ${path}`;
  if (request?.action === 'RESTORE') return `${what} is being restored from its archive: retry it when request ${request.id} is DONE`;
  if (request !== null && (request.action === 'ARCHIVE' || request.action === 'DELETE')) {
    const verb = request.action === 'ARCHIVE' ? 'archived' : 'deleted';
    return `${what} is about to be ${verb}: withdraw that with cancelCheckpointRequest(input: { id: "${request.id}" }), or retry it with ignoreArchived: true`;
  }
  return isArchived ? `${what} is archived: restore it first with restoreCheckpoints(input: { ids: ["${id}"] }), or retry it with ignoreArchived: true` : null;
}

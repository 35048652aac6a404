/** What people may ask for on checkpoints that lie on a cluster, and the bounds of it. */
import type { CheckpointState } from '../checkpoint-scan.ts';

export const CHECKPOINT_ACTIONS = ['ARCHIVE', 'DELETE', 'RESTORE', 'DIGEST'] as const;
/**
 * ARCHIVE: compressed beside where it lies, read back and compared, then removed. DELETE: removed, or its archive. RESTORE: unpacked from its archive, compared, then the
 * archive is removed. DIGEST: the SHA-256 of its content is computed.
 */
export type CheckpointAction = (typeof CHECKPOINT_ACTIONS)[number];

/** Where the work is done. */
export type CheckpointPlace = 'LOGIN_NODE' | 'SLURM_JOB';

/** PENDING -> RUNNING -> DONE | FAILED; PENDING -> CANCELLED when it was withdrawn; RUNNING -> PENDING when a run ended before it came to it. */
export type CheckpointItemState = 'PENDING' | 'RUNNING' | 'DONE' | 'FAILED' | 'CANCELLED';

const GIB = 1024 ** 3;
/** One run on a login node: so long at the most, at the lowest priority, one at a time on a cluster. */
export const LOGIN_NODE_RUN_SECONDS = 600;
/** So many bytes of checkpoints are begun with in one run on a login node; one checkpoint that is larger than that is a run of its own. */
export const LOGIN_NODE_RUN_BYTES = 4 * GIB;
/** A larger checkpoint is not worked on on a login node: reading and compressing it would take longer than a run may. */
export const LOGIN_NODE_CHECKPOINT_BYTES = 20 * GIB;
/** Checkpoints of one run: bounds the program that is sent. */
export const MAX_ITEMS_PER_RUN = { LOGIN_NODE: 50, SLURM_JOB: 500 } as const satisfies Record<CheckpointPlace, number>;
/** Bounds one transaction. */
export const MAX_CHECKPOINTS_PER_REQUEST = 20_000;
/** A run that breaks off at a checkpoint is tried again; a checkpoint that this happens to so often is given up: from then on nothing but what is half done is put in order. */
export const MAX_TRIES = 5;
/** Where not even that can be done so often, it has failed; the next request about the checkpoint goes on with it. */
export const MAX_TRIES_TO_TIDY = 15;
/** After a run broke off, or found somebody else at work, the next one waits: so long after the first, four times as long after the second, nine times after the third, ... */
export const FIRST_WAIT_SECONDS = 4;
export const MAX_WAIT_SECONDS = 60;

/** In which states a checkpoint must be for an action to make sense. */
export function statesForAction(action: CheckpointAction): readonly CheckpointState[] {
  switch (action) {
    case 'ARCHIVE': case 'DIGEST': return ['COMPLETE'];
    case 'RESTORE': return ['ARCHIVED'];
    case 'DELETE': return ['COMPLETE', 'ARCHIVED'];
  }
}

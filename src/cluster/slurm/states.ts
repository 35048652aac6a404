/** Every state word of SLURM's manuals (squeue, sacct, Job State Codes; long and compact form) and the attempt state it means. */
import type { AttemptState } from '../../domain/states.ts';

interface StateRow {
  word: string;
  /** squeue's and sacct's short form, or null where there is none. */
  compact: string | null;
  state: AttemptState;
}

export const SLURM_STATES: readonly StateRow[] = [
  { word: 'PENDING', compact: 'PD', state: 'PENDING' },
  // Back in the queue, or about to be.
  { word: 'REQUEUED', compact: 'RQ', state: 'PENDING' },
  { word: 'REQUEUE_FED', compact: 'RF', state: 'PENDING' },
  { word: 'REQUEUE_HOLD', compact: 'RH', state: 'PENDING' },
  { word: 'SPECIAL_EXIT', compact: 'SE', state: 'PENDING' },
  { word: 'RESV_DEL_HOLD', compact: 'RD', state: 'PENDING' },
  // Flags of newer versions. The job could not be started and goes back into the queue; neither is the end of it.
  { word: 'LAUNCH_FAILED', compact: null, state: 'PENDING' },
  { word: 'RECONFIG_FAIL', compact: null, state: 'PENDING' },
  // Has its nodes, which are not ready yet.
  { word: 'CONFIGURING', compact: 'CF', state: 'CONFIGURING' },
  { word: 'POWER_UP_NODE', compact: null, state: 'CONFIGURING' },
  { word: 'RUNNING', compact: 'R', state: 'RUNNING' },
  { word: 'RESIZING', compact: 'RS', state: 'RUNNING' },
  { word: 'SIGNALING', compact: 'SI', state: 'RUNNING' },
  { word: 'UPDATE_DB', compact: null, state: 'RUNNING' },
  { word: 'SUSPENDED', compact: 'S', state: 'SUSPENDED' },
  // Stopped with SIGSTOP: it keeps its CPUs, which SUSPENDED does not, but it makes no progress either.
  { word: 'STOPPED', compact: 'ST', state: 'SUSPENDED' },
  { word: 'COMPLETING', compact: 'CG', state: 'COMPLETING' },
  { word: 'STAGE_OUT', compact: 'SO', state: 'COMPLETING' },
  // Its run is over, and SLURM decides whether to run it again at once.
  { word: 'EXPEDITING', compact: null, state: 'COMPLETING' },
  { word: 'COMPLETED', compact: 'CD', state: 'COMPLETED' },
  { word: 'FAILED', compact: 'F', state: 'FAILED' },
  { word: 'CANCELLED', compact: 'CA', state: 'CANCELLED' },
  { word: 'TIMEOUT', compact: 'TO', state: 'TIMEOUT' },
  { word: 'OUT_OF_MEMORY', compact: 'OOM', state: 'OUT_OF_MEMORY' },
  { word: 'NODE_FAIL', compact: 'NF', state: 'NODE_FAIL' },
  { word: 'PREEMPTED', compact: 'PR', state: 'PREEMPTED' },
  { word: 'DEADLINE', compact: 'DL', state: 'DEADLINE' },
  { word: 'BOOT_FAIL', compact: 'BF', state: 'BOOT_FAIL' },
  { word: 'REVOKED', compact: 'RV', state: 'REVOKED' },
];

const BY_WORD = new Map(SLURM_STATES.flatMap(({ word, compact, state }) => [[word, state] as const, ...(compact === null ? [] : [[compact, state] as const])]));

/** The state behind a word as SLURM prints it (`RUNNING`, `CG`, `CANCELLED by 1000`), or null for an unknown word. */
export function attemptStateOf(text: string): AttemptState | null {
  // sacct may cut a word short with a `+`, and adds who cancelled.
  const word = text.trim().split(/[\s+]/, 1)[0] ?? '';
  return BY_WORD.get(word) ?? null;
}

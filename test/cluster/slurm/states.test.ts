import { describe, expect, it } from 'vitest';
import { attemptStateOf, SLURM_STATES } from '../../../src/cluster/slurm/states.ts';

/** The JOB STATE CODES of squeue's and sacct's manuals. */
const MANUAL = `BF BOOT_FAIL, CA CANCELLED, CD COMPLETED, CF CONFIGURING, CG COMPLETING, DL DEADLINE, F FAILED, NF NODE_FAIL, OOM OUT_OF_MEMORY, PD PENDING,
  PR PREEMPTED, R RUNNING, RD RESV_DEL_HOLD, RF REQUEUE_FED, RH REQUEUE_HOLD, RQ REQUEUED, RS RESIZING, RV REVOKED, SI SIGNALING, SE SPECIAL_EXIT, SO STAGE_OUT,
  ST STOPPED, S SUSPENDED, TO TIMEOUT`.split(',').map((row) => row.trim().split(' '));

describe('SLURM\'s state words', () => {
  it('each have a row, in long and compact form', () => {
    for (const [compact = '', word = ''] of MANUAL) {
      expect({ word, state: attemptStateOf(word) }).not.toEqual({ word, state: null });
      expect(attemptStateOf(compact)).toBe(attemptStateOf(word));
    }
  });

  it('are each in the table once', () => {
    const words = SLURM_STATES.flatMap(({ word, compact }) => (compact === null ? [word] : [word, compact]));
    expect(new Set(words).size).toBe(words.length);
  });

  it('may say more than the state', () => {
    expect(attemptStateOf('CANCELLED by 1001')).toBe('CANCELLED');
    expect(attemptStateOf('CANCELLED+')).toBe('CANCELLED');
  });

  it('that nobody knows are not guessed at', () => {
    expect(['HOVERING', '', 'running', 'X'].map(attemptStateOf)).toEqual([null, null, null, null]);
  });
});

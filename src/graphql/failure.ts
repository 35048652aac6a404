/** What an attempt's state and its last words say of why it failed. */
import type { AttemptTexts } from '../db/read/attempts.ts';
import type { AttemptState } from '../domain/states.ts';

export type FailureClass = 'OUT_OF_MEMORY' | 'TIME_LIMIT' | 'PREEMPTED' | 'NODE_FAILURE' | 'LOST' | 'ERROR';

export interface Failure {
  class: FailureClass;
  evidence: string | null;
  advice: string;
}

const ADVICE: Record<FailureClass, string> = {
  OUT_OF_MEMORY: 'Ask for more memory, or load less at once: fewer data workers, smaller batches.',
  TIME_LIMIT: 'Raise the time limit, or retry: a job that writes checkpoints can go on from its last one.',
  PREEMPTED: 'Retry; a job that writes checkpoints goes on from its last one.',
  NODE_FAILURE: 'Retry; the fault was not in the job.',
  LOST: 'Look at the job directory on the cluster for what it left, then retry.',
  ERROR: 'Read the evidence and the log, mend the cause, then retry.',
};

/** The failure of an attempt in this state, or null when it did not fail. */
export function failureOf(state: AttemptState, texts: AttemptTexts | null): Failure | null {
  const failureClass = failureClassOf(state);
  if (failureClass === null) return null;
  const evidence = lastLine(texts?.errorText ?? null) ?? lastLine(texts?.stderrTail ?? null);
  return { class: failureClass, evidence, advice: ADVICE[failureClass] };
}

function failureClassOf(state: AttemptState): FailureClass | null {
  switch (state) {
    case 'OUT_OF_MEMORY': return 'OUT_OF_MEMORY';
    case 'TIMEOUT':
    case 'DEADLINE': return 'TIME_LIMIT';
    case 'PREEMPTED': return 'PREEMPTED';
    case 'NODE_FAIL':
    case 'BOOT_FAIL': return 'NODE_FAILURE';
    case 'LOST': return 'LOST';
    case 'FAILED': return 'ERROR';
    case 'SUBMITTING': case 'PENDING': case 'CONFIGURING': case 'RUNNING': case 'SUSPENDED': case 'COMPLETING':
    case 'COMPLETED': case 'CANCELLED': case 'REVOKED': return null;
  }
}

function lastLine(text: string | null): string | null {
  return text?.split('\n').map((line) => line.trim()).findLast((line) => line !== '') ?? null;
}

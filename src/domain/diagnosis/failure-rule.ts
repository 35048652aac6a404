import type { AttemptState } from '../states.ts';
import type { FailureClass } from './failure-class.ts';

/** One way to recognise a failure. All conditions that are given must hold. */
export interface FailureRule {
  class: FailureClass;
  /** One of them must match a line of what the attempt left behind; none: the other conditions say it all. Without `g` or `y`. */
  patterns: readonly RegExp[];
  states?: readonly AttemptState[];
  exitCodes?: readonly number[];
  signals?: readonly number[];
  /** Lines to quote from the one that matches, for messages that go on in the next; 1 when absent. */
  quotedLines?: number;
  /** In place of the advice of the class. */
  advice?: string;
}

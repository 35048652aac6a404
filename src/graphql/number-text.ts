/** Which written numbers a double cannot stand for. A long decimal is read as the nearest double, as every program reads it. */
import { UnsafeNumberReason, getUnsafeNumberReason } from 'lossless-json';

/** Below this a double has fewer digits than usual, and none that were written can be relied on. */
const SMALLEST_NORMAL = 2 ** -1022;

/** Why a number must not be read as a double, or null when it may. */
export function numberProblem(text: string): string | null {
  switch (getUnsafeNumberReason(text)) {
    case undefined: return null;
    case UnsafeNumberReason.overflow: return 'is larger than any double (about 1.8e308)';
    case UnsafeNumberReason.underflow: return 'would become 0, the smallest double is about 4.9e-324';
    case UnsafeNumberReason.truncate_integer: return 'is an integer beyond 2^53 - 1, which a double cannot hold exactly';
    case UnsafeNumberReason.truncate_float: return Math.abs(Number(text)) < SMALLEST_NORMAL ? 'is so close to 0 that a double would lose its digits' : null;
  }
}

/** Progress as the schema shows it. */
import type { Progress } from '../domain/progress.ts';
import { JOB_STATES } from '../domain/states.ts';
import type { ProgressType } from './experiment.type.ts';

/** Counts with their shares. */
export function toProgressType({ countsByState, ...progress }: Progress): ProgressType {
  return {
    ...progress,
    states: JOB_STATES.map((state) => ({
      state, count: countsByState[state], percentage: progress.total === 0 ? 0 : (100 * countsByState[state]) / progress.total,
    })),
  };
}

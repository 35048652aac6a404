/**
 * Accelerate: `checkpoint_7/` is the eighth that was saved; the number is no step, and nothing else tells the step. Where the script chose the
 * names (`step_500/`, `epoch_3/`, as in the examples), they are to be taken at their word. Ray Tune's `checkpoint_000007/` is such an ordinal, too.
 */
import { parseCheckpointName } from '../checkpoint-name.ts';
import { fromName, hasFile, type LayoutReader } from './layout.ts';

const RANDOM_STATES = /^random_states_\d+\.pkl$/;

export const accelerate: LayoutReader = {
  layout: 'ACCELERATE',
  isUnmistakable: false,
  read(found) {
    if (!found.isDirectory) return null;
    if (/^checkpoint_\d+$/.test(found.name)) return { step: null, epoch: null, aliases: [], isUnfinished: false };
    return hasFile(found, RANDOM_STATES) ? fromName(parseCheckpointName(found.name)) : null;
  },
};

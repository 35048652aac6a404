/** DeepSpeed: `global_step500/`, beside a file `latest` with the name of the newest, written when that is whole. */
import { certainNumber, hasFile, type LayoutReader } from './layout.ts';

const MODEL_STATES = /(?:^|\/)(?:.*_)?model_states\.pt$/;

export const deepspeed: LayoutReader = {
  layout: 'DEEPSPEED',
  isUnmistakable: true,
  read({ name, isDirectory }) {
    const digits = /^global_step(\d+)$/.exec(name)?.[1];
    return digits === undefined || !isDirectory ? null : { step: certainNumber(digits), epoch: null, aliases: [], isUnfinished: false };
  },
  pointer: { fileName: 'latest', targetOf: (text) => text.trim() || null },
  missingPart: (found) => (hasFile(found, MODEL_STATES) ? null : 'no file of model states'),
};

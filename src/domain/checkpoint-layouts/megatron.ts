/** Megatron: `iter_0000500/`, beside a file `latest_checkpointed_iteration.txt` with the iteration of the newest, written when that is whole. */
import { certainNumber, type LayoutReader } from './layout.ts';

const ITERATION_DIGITS = 7;

export const megatron: LayoutReader = {
  layout: 'MEGATRON',
  isUnmistakable: true,
  read({ name, isDirectory }) {
    const digits = /^iter_(\d{7,})$/.exec(name)?.[1];
    return digits === undefined || !isDirectory ? null : { step: certainNumber(digits), epoch: null, aliases: [], isUnfinished: false };
  },
  pointer: {
    fileName: 'latest_checkpointed_iteration.txt',
    targetOf(text) {
      const word = text.trim();
      return /^\d+$/.test(word) ? `iter_${word.padStart(ITERATION_DIGITS, '0')}` : word || null;
    },
  },
};

/** The Hugging Face Trainer: `checkpoint-500/`, with the epoch and the name of the best checkpoint in its `trainer_state.json`. */
import { certainNumber, type LayoutReader } from './layout.ts';

/** The history comes last in the file, and is not wanted here. */
const STATE_HEAD_BYTES = 4096;

export const huggingFace: LayoutReader = {
  layout: 'HUGGING_FACE',
  isUnmistakable: true,
  read({ name, isDirectory }) {
    const digits = /^(?:tmp-)?checkpoint-(\d+)$/.exec(name)?.[1];
    if (digits === undefined || !isDirectory) return null;
    return { step: certainNumber(digits), epoch: null, aliases: [], isUnfinished: name.startsWith('tmp-') };
  },
  facts: {
    fileName: 'trainer_state.json',
    maxBytes: STATE_HEAD_BYTES,
    factsOf(text) {
      const [head = ''] = text.split('"log_history"');
      const numberOf = (key: string): number | null => {
        const digits = new RegExp(`"${key}":\\s*(-?[\\d.eE+-]+)`).exec(head)?.[1];
        return digits === undefined || Number.isNaN(Number(digits)) ? null : Number(digits);
      };
      const [step, epoch] = [numberOf('global_step'), numberOf('epoch')];
      const best = /"best_model_checkpoint":\s*"((?:[^"\\]|\\.)*)"/.exec(head)?.[1];
      return {
        ...(step !== null && Number.isSafeInteger(step) && step >= 0 && { step }),
        ...(epoch !== null && epoch >= 0 && { epoch }),
        ...(best !== undefined && { bestName: best.replace(/^.*[/\\]/, '') }),
      };
    },
  },
};

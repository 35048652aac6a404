/**
 * Keras: `model.05-0.32.keras`, `cp-0003.weights.h5`, and in TensorFlow's own format `cp-0003.ckpt` (several files, which belong together).
 * ModelCheckpoint numbers epochs. TensorFlow's CheckpointManager numbers its saves: `ckpt-7` is no epoch, and the file `checkpoint` names the newest.
 */
import { parseCheckpointName } from '../checkpoint-name.ts';
import { fromName, type LayoutReader, type Position } from './layout.ts';

const KERAS_FILE = /\.(?:keras|h5|hdf5)$/;
const TENSORFLOW_PART = /\.(?:index|meta|data-\d{5}-of-\d{5})$/;

export const keras: LayoutReader = {
  layout: 'KERAS',
  isUnmistakable: false,
  read({ name, files }) {
    const isTensorflow = files.some(({ path }) => TENSORFLOW_PART.test(path) && path.replace(TENSORFLOW_PART, '').endsWith(name));
    if (!KERAS_FILE.test(name) && !isTensorflow) return null;
    const said = fromName(parseCheckpointName(name));
    if (/^ckpt-\d+$/.test(name)) return { ...said, step: null };
    const isStep = said.step !== null && said.step.confidence !== 'GUESS';
    return { ...said, step: isStep ? said.step : null, epoch: said.epoch ?? (isStep ? null : numberAlone(name)) };
  },
  pointer: { fileName: 'checkpoint', targetOf: (text) => /^model_checkpoint_path:\s*"(?:.*\/)?([^/"]+)"/m.exec(text)?.[1] ?? null },
};

/** The first whole number of the name that is no part of a decimal: `05` of `model.05-0.32.keras`. */
function numberAlone(name: string): Position | null {
  const digits = /(?:^|[._-])(\d+)(?=[._-])/.exec(name.replaceAll(/\d+\.\d+(?=\.\D)/g, ''))?.[1];
  return digits === undefined || !Number.isSafeInteger(Number(digits)) ? null : { value: Number(digits), source: 'NAME', confidence: 'LIKELY' };
}

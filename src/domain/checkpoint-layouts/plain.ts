/** Whatever else a script saves: `epoch_10.pt`, `model_500.pt`, `best.pth`. */
import { parseCheckpointName } from '../checkpoint-name.ts';
import { fromName, type LayoutReader } from './layout.ts';

export const plain: LayoutReader = {
  layout: 'PLAIN',
  isUnmistakable: false,
  read: ({ name }) => fromName(parseCheckpointName(name)),
};

/** safetensors that no framework above has named: one file, shards that belong together, or a directory with either. */
import { parseCheckpointName } from '../checkpoint-name.ts';
import { fromName, hasFile, type LayoutReader } from './layout.ts';

export const safetensors: LayoutReader = {
  layout: 'SAFETENSORS',
  isUnmistakable: false,
  read(found) {
    const isOne = /\.safetensors(?:\.index\.json)?$/.test(found.name) || (found.isDirectory && hasFile(found, /\.safetensors$/));
    return isOne ? fromName(parseCheckpointName(found.name)) : null;
  },
};

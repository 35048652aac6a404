/** Orbax: `500/` or `name_500/`, with `_CHECKPOINT_METADATA` in it; `500.orbax-checkpoint-tmp` until it is whole. */
import { certainNumber, hasFile, type LayoutReader } from './layout.ts';

const TEMPORARY = /\.orbax-checkpoint-tmp(?:-\d+)?$/;
const METADATA = /^(?:_CHECKPOINT_METADATA|_METADATA|commit_success\.txt)$/;

export const orbax: LayoutReader = {
  layout: 'ORBAX',
  isUnmistakable: true,
  read(found) {
    const isTemporary = TEMPORARY.test(found.name);
    if (!found.isDirectory || (!isTemporary && !hasFile(found, METADATA))) return null;
    const digits = /^(?:.*[^\d])?(\d+)$/.exec(found.name.replace(TEMPORARY, ''))?.[1];
    const hasTemporaryPart = found.files.some(({ path }) => path.slice(found.path.length).split('/').some((part) => TEMPORARY.test(part)));
    return { step: certainNumber(digits), epoch: null, aliases: [], isUnfinished: isTemporary || hasTemporaryPart };
  },
};

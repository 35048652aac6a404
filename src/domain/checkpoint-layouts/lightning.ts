/**
 * Lightning: `epoch=3-step=500.ckpt`, with metrics in the name if asked for (`epoch=3-val_loss=0.07.ckpt`), `-v1` where the name was taken,
 * and `last.ckpt`, a copy of the newest or a link to it. With a sharding strategy each is a directory.
 */
import { certainNumber, type LayoutReader } from './layout.ts';

const AUTOMATIC = /(?:^|-)(?:epoch|step)=\d+/;
const LAST = /^last(?:-v\d+)?\.ckpt$/;

export const lightning: LayoutReader = {
  layout: 'LIGHTNING',
  isUnmistakable: true,
  read({ name }) {
    if (!name.endsWith('.ckpt')) return null;
    const isLast = LAST.test(name);
    if (!isLast && !AUTOMATIC.test(name)) return null;
    const said = name.slice(0, -'.ckpt'.length).replace(/-v\d+$/, '');
    return {
      step: certainNumber(/(?:^|-)step=(\d+)/.exec(said)?.[1]),
      epoch: certainNumber(/(?:^|-)epoch=(\d+)/.exec(said)?.[1]),
      aliases: [...(/(?:^|-)best(?:-|$)/.test(said) ? ['best'] : []), ...(isLast ? ['last'] : [])],
      isUnfinished: false,
    };
  },
};

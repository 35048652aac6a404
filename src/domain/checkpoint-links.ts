/** Links beside checkpoints, such as `last.ckpt`: names for what they lead to. */
import type { CheckpointEntry } from './checkpoint-search.ts';

const MAX_LINK_HOPS = 8;

/** Where each link leads in the end, by its path: something in its own folder. Loops and links to elsewhere lead nowhere and are left out. */
export function followLinks(links: readonly CheckpointEntry[], jobDirectory: string): Map<string, string> {
  const targets = new Map<string, string>();
  for (const { relativePath, linkTarget } of links) {
    const target = linkTarget === null ? null : targetBeside(relativePath, linkTarget, jobDirectory);
    if (target !== null) targets.set(relativePath, target);
  }
  const ends = new Map<string, string>();
  for (const link of targets.keys()) {
    let end = link;
    for (let hop = 0; hop < MAX_LINK_HOPS && targets.has(end); hop += 1) end = targets.get(end) ?? end;
    if (!targets.has(end)) ends.set(link, end);
  }
  return ends;
}

/** The name of a link without its ending: what it makes of the checkpoint that it leads to. */
export function aliasOfLink(link: string): string {
  return link.slice(link.lastIndexOf('/') + 1).replace(/\.[A-Za-z][A-Za-z0-9]*$/, '');
}

/** The entry of the link's own folder that it leads to or into. */
function targetBeside(link: string, linkTarget: string, jobDirectory: string): string | null {
  const folder = link.slice(0, link.lastIndexOf('/') + 1);
  const root = `${jobDirectory.replace(/\/+$/, '')}/${folder}`;
  const relative = linkTarget.startsWith(root) ? linkTarget.slice(root.length) : linkTarget;
  if (relative.startsWith('/')) return null;
  const [top = ''] = relative.split('/').filter((part) => part !== '' && part !== '.');
  return top === '' || top === '..' ? null : folder + top;
}

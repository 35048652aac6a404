/** How archives of checkpoints are called: as the checkpoint, with an ending. They lie beside where it lay. */
import { shellQuote } from '../script/shell-quote.ts';

/** Of a checkpoint that is one file, and of one that is a folder or several files. */
export const ARCHIVE_ENDINGS = ['.zst', '.gz', '.tar.zst', '.tar.gz'] as const;

/** Names that only runs of ours give, to what is half done. */
export const OWN_PREFIX = '.expgraph-';

/** A shell command that puts the checkpoint back where it was; the archive stays, too. */
export function restoreCommand(checkpointPath: string, archivePath: string): string {
  const unpack = `${archivePath.endsWith('.zst') ? 'zstd -dc' : 'gzip -dc'} -- ${shellQuote(archivePath)}`;
  const folder = checkpointPath.slice(0, checkpointPath.lastIndexOf('/')) || '/';
  return /\.tar\.(?:zst|gz)$/.test(archivePath) ? `${unpack} | tar -xpf - -C ${shellQuote(folder)}` : `${unpack} > ${shellQuote(checkpointPath)}`;
}

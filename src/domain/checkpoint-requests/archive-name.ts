/** How archives of checkpoints are called: as the checkpoint, with an ending. They lie beside where it lay. */
import { shellQuote } from '../script/shell-quote.ts';

/**
 * How the name of an archive goes on after that of its checkpoint: `.tar` where that is a folder or several files; a number where there is an archive
 * already of what lay at the same path before. PostgreSQL reads this expression, too.
 */
export const ARCHIVE_ENDING = /^(?:\.tar)?(?:\.\d+)?\.(?:zst|gz)$/;

/** Whether an archive of the checkpoint may be called so. */
export function isArchiveName(checkpointPath: string, path: string): boolean {
  return path.startsWith(checkpointPath) && ARCHIVE_ENDING.test(path.slice(checkpointPath.length));
}

/** The paths of all checkpoints whose archives may be called so; none of most. */
export function possibleOriginals(path: string): string[] {
  const packed = /^(.+)\.(?:zst|gz)$/.exec(path)?.[1];
  if (packed === undefined) return [];
  const unnumbered = packed.replace(/\.\d+$/, '');
  return [packed, unnumbered, packed.replace(/\.tar$/, ''), unnumbered.replace(/\.tar$/, '')];
}

/** Names that only runs of ours give, to what is half done. */
export const OWN_PREFIX = '.expgraph-';

/** Whether the archive is a tar of a folder or of several files. The ending that we gave it tells; a checkpoint may itself be called `x.tar`. */
export function isTarArchive(checkpointPath: string, archivePath: string): boolean {
  return archivePath.slice(checkpointPath.length).startsWith('.tar.');
}

/** A shell command that puts the checkpoint back where it was; the archive stays, too. */
export function restoreCommand(checkpointPath: string, archivePath: string): string {
  const unpack = `${archivePath.endsWith('.zst') ? 'zstd -dc' : 'gzip -dc'} -- ${shellQuote(archivePath)}`;
  const folder = checkpointPath.slice(0, checkpointPath.lastIndexOf('/')) || '/';
  return isTarArchive(checkpointPath, archivePath) ? `${unpack} | tar -xpf - -C ${shellQuote(folder)}` : `${unpack} > ${shellQuote(checkpointPath)}`;
}

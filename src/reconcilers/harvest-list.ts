/** Lists the directories of many jobs in bounded memory, so that one with too many files is cut short itself and hides no other's. */
import { TransportError, type FileEntry, type Transport } from '../cluster/transport.ts';

export interface Listed {
  entries: FileEntry[];
  /** Directories whose listing stopped early. */
  truncated: Set<string>;
}

/** All at once; where that is too much, by halves, each with half of the room. */
export async function listDirectories(
  transport: Pick<Transport, 'list'>, directories: string[], { maxDepth, maxEntries }: { maxDepth: number; maxEntries: number },
): Promise<Listed> {
  const { entries, truncated } = await listOnce(transport, directories, maxDepth, maxEntries);
  if (!truncated) return { entries, truncated: new Set() };
  if (directories.length === 1) return { entries, truncated: new Set(directories) };
  const half = Math.ceil(directories.length / 2);
  const bounds = { maxDepth, maxEntries: Math.ceil(maxEntries / 2) };
  const first = await listDirectories(transport, directories.slice(0, half), bounds);
  const second = await listDirectories(transport, directories.slice(half), bounds);
  return { entries: [...first.entries, ...second.entries], truncated: new Set([...first.truncated, ...second.truncated]) };
}

async function listOnce(transport: Pick<Transport, 'list'>, directories: string[], maxDepth: number, maxEntries: number): Promise<{ entries: FileEntry[]; truncated: boolean }> {
  try {
    return await transport.list({ directories, maxDepth, maxEntries });
  } catch (error) {
    // Few files with very long names.
    if (error instanceof TransportError && error.failure === 'output-limit') return { entries: [], truncated: true };
    throw error;
  }
}

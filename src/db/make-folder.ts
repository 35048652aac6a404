/** Makes folders. */
import { mkdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { UserError } from '../domain/errors.ts';

/**
 * Makes a folder, and those above it, where they are missing. Node's own `recursive` does not come back on a file system
 * that takes no folders (`/proc`): there it is told again and again that the parent is missing. Throws UserError then.
 */
export async function makeFolder(path: string): Promise<void> {
  if (await isFolder(path)) return;
  if (dirname(path) !== path) await makeFolder(dirname(path));
  try {
    await mkdir(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST' && await isFolder(path)) return;
    if (code === 'ENOENT') throw UserError.of('CONFLICT', `${path} cannot be made: the file system of ${dirname(path)} takes no new folders; choose another directory`);
    throw error;
  }
}

async function isFolder(path: string): Promise<boolean> {
  return stat(path).then((entry) => entry.isDirectory(), () => false);
}

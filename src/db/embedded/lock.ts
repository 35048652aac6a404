/** One owner for a folder: a lock file that names the process, so that a lock left over from a killed one is seen to be stale. */
import { randomUUID } from 'node:crypto';
import { rmSync } from 'node:fs';
import { link, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { UserError } from '../../domain/errors.ts';
import { processFacts } from './processes.ts';

interface Owner {
  pid: number;
  started: string;
}

export interface FolderLock {
  /** Synchronous, so that it can run while the process exits. */
  release(): void;
}

/** Takes the lock at once or throws UserError CONFLICT, naming the process that has it. */
export async function lockFolder(lockPath: string, folder: string): Promise<FolderLock> {
  const facts = await processFacts(process.pid);
  const mine = JSON.stringify({ pid: process.pid, started: facts?.started ?? '' } satisfies Owner);
  const draft = `${lockPath}.${randomUUID()}`;
  // A link appears with its content or not at all, so nobody ever reads a half-written lock.
  await writeFile(draft, mine, { mode: 0o600 });
  try {
    while (!await tryLink(draft, lockPath)) await clearStaleLock(lockPath, folder);
  } finally {
    await rm(draft, { force: true });
  }
  return { release: () => rmSync(lockPath, { force: true }) };
}

async function tryLink(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false;
    throw error;
  }
}

async function clearStaleLock(lockPath: string, folder: string): Promise<void> {
  const content = await readFile(lockPath, 'utf8').catch(() => null);
  if (content === null) return;
  const owner = parseOwner(content);
  if (owner !== null && (await processFacts(owner.pid))?.started === owner.started) {
    throw UserError.of('CONFLICT', `the database in ${folder} is in use by process ${owner.pid}; stop that one first, or give this one another data directory`);
  }
  // Another process may have cleared it and locked in the meantime: what was moved away by mistake goes back.
  const aside = `${lockPath}.${randomUUID()}`;
  if (!await rename(lockPath, aside).then(() => true, () => false)) return;
  if (await readFile(aside, 'utf8') !== content) await tryLink(aside, lockPath);
  await rm(aside, { force: true });
}

function parseOwner(content: string): Owner | null {
  try {
    const value: unknown = JSON.parse(content);
    if (typeof value !== 'object' || value === null || !('pid' in value) || !('started' in value)) return null;
    return typeof value.pid === 'number' && typeof value.started === 'string' ? { pid: value.pid, started: value.started } : null;
  } catch {
    return null;
  }
}

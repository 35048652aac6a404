/** `put`, `read` and `list` on this machine's own file system. */
import { randomBytes } from 'node:crypto';
import type { BigIntStats } from 'node:fs';
import { constants } from 'node:fs';
import { lstat, mkdir, open, readdir, readlink, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { FileError } from '../transport.ts';
import type { FileEntry, Listing, ListRequest, ReadRange } from '../transport.ts';
import { assertAbsolutePath } from './command.ts';

/** More at once gains nothing: node's own pool has four threads. */
const PARALLEL_FILES = 16;

/** Writes whole or not at all, making the directory. Throws FileError. */
export async function putFile(path: string, content: Buffer): Promise<void> {
  assertAbsolutePath(path);
  const temporary = join(dirname(path), `.expgraph-${randomBytes(16).toString('hex')}.tmp`);
  try {
    await mkdir(dirname(path), { recursive: true });
    const existing = await stat(path).catch(() => null);
    if (existing?.isDirectory()) throw new Error('is a directory');
    await writeFile(temporary, content, { flag: 'wx' });
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw new FileError(`cannot write ${path}: ${(error as Error).message}`, { cause: error });
  }
}

export async function readRanges(ranges: ReadRange[]): Promise<(Buffer | null)[]> {
  for (const range of ranges) assertAbsolutePath(range.path);
  return inGroups(ranges, readRange);
}

async function readRange(range: ReadRange): Promise<Buffer | null> {
  try {
    // Without O_NONBLOCK a named pipe put in a file's place would hang the read for ever.
    const handle = await open(range.path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const status = await handle.stat();
      if (!status.isFile()) return null;
      const buffer = Buffer.allocUnsafe(Math.max(0, Math.min(range.maxBytes, status.size - range.offsetBytes)));
      let byteCount = 0;
      while (byteCount < buffer.length) {
        const { bytesRead } = await handle.read(buffer, byteCount, buffer.length - byteCount, range.offsetBytes + byteCount);
        if (bytesRead === 0) break;
        byteCount += bytesRead;
      }
      return buffer.subarray(0, byteCount);
    } finally {
      await handle.close();
    }
  } catch {
    return null;
  }
}

export async function listFiles(request: ListRequest): Promise<Listing> {
  request.directories.forEach(assertAbsolutePath);
  const entries: FileEntry[] = [];
  const unreadable = new Set<string>();
  const pending = request.directories.map((path) => ({ asked: path, path, depth: 1 })).toReversed();
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const { asked, path: directory, depth } = next;
    const missing = (error: unknown): null => {
      if (!isAbsence(error)) unreadable.add(asked);
      return null;
    };
    const names = await readdir(directory).catch(missing) ?? [];
    // One more than asked for is enough to know that there are more.
    const paths = names.slice(0, request.maxEntries + 1 - entries.length).map((name) => join(directory, name));
    const found = (await inGroups(paths, (path) => entryAt(path).catch(missing))).filter((entry) => entry !== null);
    entries.push(...found);
    if (entries.length > request.maxEntries) return { entries: entries.slice(0, request.maxEntries), truncated: true, unreadable: [...unreadable] };
    if (depth < request.maxDepth) {
      for (const entry of found) {
        if (entry.kind === 'directory') pending.push({ asked, path: entry.path, depth: depth + 1 });
      }
    }
  }
  return { entries, truncated: false, unreadable: [...unreadable] };
}

/** Whether the error says that there is no such thing. */
function isAbsence(error: unknown): boolean {
  return ['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '');
}

async function entryAt(path: string): Promise<FileEntry> {
  const status = await lstat(path, { bigint: true });
  const kind = kindOf(status);
  return {
    path,
    kind,
    sizeBytes: Number(status.size),
    inode: String(status.ino),
    modifiedAt: new Date(Number(status.mtimeMs)),
    linkTarget: kind === 'link' ? await readlink(path) : null,
  };
}

function kindOf(status: BigIntStats): FileEntry['kind'] {
  if (status.isFile()) return 'file';
  if (status.isDirectory()) return 'directory';
  return status.isSymbolicLink() ? 'link' : 'other';
}

async function inGroups<Item, Answer>(items: Item[], ask: (item: Item) => Promise<Answer>): Promise<Answer[]> {
  const answers: Answer[] = [];
  for (let start = 0; start < items.length; start += PARALLEL_FILES) {
    answers.push(...(await Promise.all(items.slice(start, start + PARALLEL_FILES).map(ask))));
  }
  return answers;
}

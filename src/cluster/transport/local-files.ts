/** `put`, `read` and `list` on this machine's own file system. */
import { randomBytes } from 'node:crypto';
import type { BigIntStats } from 'node:fs';
import { constants } from 'node:fs';
import { lstat, mkdir, open, readdir, readlink, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { FileError } from '../transport.ts';
import type { FileEntry, ListRequest, ReadRange } from '../transport.ts';
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

export async function listFiles(request: ListRequest): Promise<{ entries: FileEntry[]; truncated: boolean }> {
  request.directories.forEach(assertAbsolutePath);
  const entries: FileEntry[] = [];
  const pending = request.directories.map((path) => ({ path, depth: 1 })).toReversed();
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const { path: directory, depth } = next;
    const names = await readdir(directory).catch(() => []);
    // One more than asked for is enough to know that there are more.
    const paths = names.slice(0, request.maxEntries + 1 - entries.length).map((name) => join(directory, name));
    const found = (await inGroups(paths, entryAt)).filter((entry) => entry !== null);
    entries.push(...found);
    if (entries.length > request.maxEntries) return { entries: entries.slice(0, request.maxEntries), truncated: true };
    if (depth < request.maxDepth) {
      for (const entry of found) {
        if (entry.kind === 'directory') pending.push({ path: entry.path, depth: depth + 1 });
      }
    }
  }
  return { entries, truncated: false };
}

/** Null when it vanished since its name was read. */
async function entryAt(path: string): Promise<FileEntry | null> {
  try {
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
  } catch {
    return null;
  }
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

/** Which parts of a job's files to read next, decided from what a listing shows and how far each file was read. */
import { createHash } from 'node:crypto';
import type { JsonObject } from './job-spec.ts';

/** A chunk holds at least one line of the longest kind, and bounds the memory that one file takes in a round. */
export const READ_CHUNK_BYTES = 4 * 1024 * 1024;
/** How much of the end of a log is kept. */
export const LOG_TAIL_BYTES = 16 * 1024;
/** Larger error.txt, result.json or exit.json files are cut here. */
export const SMALL_FILE_BYTES = 256 * 1024;
/** So much of what was read before is read again, to see that it is still the same file: some lines, which another run would not write the same at the same place. */
export const OVERLAP_BYTES = 256;

export interface ListedFile {
  path: string;
  sizeBytes: number;
  inode: string;
}

export interface CursorPosition {
  offsetBytes: number;
  inode: string;
  /** The running number of what names no step, or how many of the items of a file that is rewritten whole were taken in. */
  nextStep: number;
  skipping: boolean;
  /** What the reader of the file remembers of it; null for most. */
  memory: JsonObject | null;
  /** Digest of the bytes just before the offset; null where they were never read. */
  overlapDigest: string | null;
}

export interface PlannedRead {
  path: string;
  /** Of a growing file it lies a little before the cursor. */
  offsetBytes: number;
  maxBytes: number;
  /** Where the cursor stands before this read. */
  from: CursorPosition;
  /** The file goes on behind what is read now. */
  hasMore: boolean;
}

/** Where a file that was never read stands. */
export function startOf({ inode }: Pick<ListedFile, 'inode'>): CursorPosition {
  return { offsetBytes: 0, inode, nextStep: 0, skipping: false, memory: null, overlapDigest: null };
}

/**
 * The next piece of a file that only grows, with the last bytes before it; null when there is nothing new. A replaced or shortened file is read from
 * its start. One that was emptied and has grown beyond the cursor since shows in those bytes: `appendedBytes` tells.
 */
export function planLines(file: ListedFile, cursor: CursorPosition | undefined): PlannedRead | null {
  const isSame = cursor !== undefined && cursor.inode === file.inode && cursor.offsetBytes <= file.sizeBytes;
  const from = isSame ? cursor : startOf(file);
  if (from.offsetBytes === file.sizeBytes) return null;
  const offsetBytes = from.offsetBytes - overlapOf(from);
  const rest = file.sizeBytes - offsetBytes;
  return { path: file.path, offsetBytes, maxBytes: Math.min(rest, READ_CHUNK_BYTES), from, hasMore: rest > READ_CHUNK_BYTES };
}

/** How many bytes before the cursor are read along. */
function overlapOf({ offsetBytes }: CursorPosition): number {
  return Math.min(OVERLAP_BYTES, offsetBytes);
}

/** What of the content of a `planLines` lies behind the cursor; null where the bytes before it are not those that were read, so that it is another file. */
export function appendedBytes(content: Buffer, from: CursorPosition): Buffer | null {
  const overlap = overlapOf(from);
  if (content.length < overlap) return null;
  const isSame = from.overlapDigest === null || from.overlapDigest === digestOf(content.subarray(0, overlap));
  return isSame ? content.subarray(overlap) : null;
}

/** The cursor that was reached by reading the content, with what tells the file from another next time. */
export function withOverlap(content: Buffer, from: CursorPosition, reached: CursorPosition): CursorPosition {
  const end = reached.offsetBytes - from.offsetBytes + overlapOf(from);
  // Of a record that was stepped over unread, the last bytes are not here.
  const overlapDigest = end > content.length ? null : digestOf(content.subarray(end - overlapOf(reached), end));
  return { ...reached, overlapDigest };
}

function digestOf(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('base64');
}

/** The end of a file, if it changed size since it was last read. The cursor then holds the size that was seen. */
export function planTail(file: ListedFile, cursor: CursorPosition | undefined, maxBytes: number): PlannedRead | null {
  if (file.sizeBytes === 0 || (cursor?.inode === file.inode && cursor.offsetBytes === file.sizeBytes)) return null;
  const offsetBytes = Math.max(0, file.sizeBytes - maxBytes);
  const from = { ...startOf(file), offsetBytes: file.sizeBytes };
  return { path: file.path, offsetBytes, maxBytes: file.sizeBytes - offsetBytes, from, hasMore: false };
}

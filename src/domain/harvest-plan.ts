/** Which parts of a job's files to read next, decided from what a listing shows and how far each file was read. */
import type { JsonObject } from './job-spec.ts';

/** A chunk holds at least one line of the longest kind, and bounds the memory that one file takes in a round. */
export const READ_CHUNK_BYTES = 4 * 1024 * 1024;
/** How much of the end of a log is kept. */
export const LOG_TAIL_BYTES = 16 * 1024;
/** Larger error.txt, result.json or exit.json files are cut here. */
export const SMALL_FILE_BYTES = 256 * 1024;

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
}

export interface PlannedRead {
  path: string;
  offsetBytes: number;
  maxBytes: number;
  /** Where the cursor stands before this read. */
  from: CursorPosition;
  /** The file goes on behind what is read now. */
  hasMore: boolean;
}

/** The next piece of a file that grows line by line; null when there is nothing new. A replaced or shortened file is read from its start. */
export function planLines(file: ListedFile, cursor: CursorPosition | undefined): PlannedRead | null {
  const isSame = cursor !== undefined && cursor.inode === file.inode && cursor.offsetBytes <= file.sizeBytes;
  const from = isSame ? cursor : { offsetBytes: 0, inode: file.inode, nextStep: 0, skipping: false, memory: null };
  if (from.offsetBytes === file.sizeBytes) return null;
  const rest = file.sizeBytes - from.offsetBytes;
  return { path: file.path, offsetBytes: from.offsetBytes, maxBytes: Math.min(rest, READ_CHUNK_BYTES), from, hasMore: rest > READ_CHUNK_BYTES };
}

/** The end of a file, if it changed size since it was last read. The cursor then holds the size that was seen. */
export function planTail(file: ListedFile, cursor: CursorPosition | undefined, maxBytes: number): PlannedRead | null {
  if (file.sizeBytes === 0 || (cursor?.inode === file.inode && cursor.offsetBytes === file.sizeBytes)) return null;
  const offsetBytes = Math.max(0, file.sizeBytes - maxBytes);
  const from = { offsetBytes: file.sizeBytes, inode: file.inode, nextStep: 0, skipping: false, memory: null };
  return { path: file.path, offsetBytes, maxBytes: file.sizeBytes - offsetBytes, from, hasMore: false };
}

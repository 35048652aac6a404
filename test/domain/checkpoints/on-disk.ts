/** Scans a folder of the real disk as the server scans a job directory: lists it, looks into what is undecided, decides. */
import { closeSync, lstatSync, openSync, readdirSync, readlinkSync, readSync } from 'node:fs';
import { join } from 'node:path';
import type { LoggedCheckpoint } from '../../../src/domain/checkpoint-line.ts';
import { scanCheckpoints, type CheckpointChange, type KnownCheckpoint } from '../../../src/domain/checkpoint-scan.ts';
import { findCheckpoints, type CheckpointEntry } from '../../../src/domain/checkpoint-search.ts';
import { headsOf, longerHeadsOf, type WantedHead } from '../../../src/domain/checkpoint-whole.ts';

export function listFolder(folder: string, under = ''): CheckpointEntry[] {
  return readdirSync(join(folder, under)).flatMap((name) => {
    const relativePath = under === '' ? name : `${under}/${name}`;
    const path = join(folder, relativePath);
    const status = lstatSync(path);
    const kind = status.isDirectory() ? 'directory' : status.isSymbolicLink() ? 'link' : 'file';
    const entry: CheckpointEntry = {
      relativePath, kind, sizeBytes: status.size, modifiedAt: status.mtime, linkTarget: kind === 'link' ? readlinkSync(path) : null,
    };
    return kind === 'directory' ? [entry, ...listFolder(folder, relativePath)] : [entry];
  });
}

function readHead(path: string, maxBytes: number): Buffer {
  const file = openSync(path, 'r');
  const buffer = Buffer.alloc(maxBytes);
  const count = readSync(file, buffer, 0, maxBytes, 0);
  closeSync(file);
  return buffer.subarray(0, count);
}

export interface ScanOptions {
  known?: KnownCheckpoint[];
  logged?: LoggedCheckpoint[];
  jobEnded?: boolean;
  /** Default: long after everything was written. */
  now?: Date;
}

export function scanFolder(folder: string, { known = [], logged = [], jobEnded = true, now = new Date(Date.now() + 3_600_000) }: ScanOptions = {}): CheckpointChange[] {
  const search = findCheckpoints(listFolder(folder), { declared: new Set(logged.map(({ path }) => path)), archives: new Set() });
  const heads = new Map<string, Buffer>();
  const take = (wanted: WantedHead[]): void => { for (const { path, maxBytes } of wanted) heads.set(path, readHead(join(folder, path), maxBytes)); };
  take([...search.found.flatMap(headsOf), ...search.pointers.map(({ relativePath }) => ({ path: relativePath, maxBytes: 4096 }))]);
  take(search.found.flatMap((found) => longerHeadsOf(found, heads)));
  return scanCheckpoints({ search, known, logged, heads, jobDirectory: folder, now, jobEnded, truncated: false });
}

/** In short: `STATE layout step epoch aliases`, by path. */
export function summary(changes: CheckpointChange[]): Record<string, string> {
  const position = (at: CheckpointChange['step']): string => (at === null ? '-' : `${at.value}/${at.source}/${at.confidence}`);
  return Object.fromEntries(changes.map(({ relativePath, state, layout, step, epoch, aliases }) => (
    [relativePath, [state, layout, position(step), position(epoch), ...aliases].join(' ')])));
}

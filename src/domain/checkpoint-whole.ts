/**
 * Whether all of a checkpoint is there, as far as that can be told without loading it: the header of a safetensors file says how long the file must
 * be, an index or the names of the shards say which there must be. What is to be read for that is the beginning of each file, in bounded pieces.
 */
import { readLayout } from './checkpoint-layouts/all-layouts.ts';
import type { CheckpointFile, FoundCheckpoint } from './checkpoint-layouts/layout.ts';
import { isJsonObject } from './config-values.ts';

/** The beginnings of files, by their paths relative to the job directory. */
export type FileHeads = ReadonlyMap<string, Buffer>;

export interface WantedHead {
  path: string;
  maxBytes: number;
}

/** Holds the headers of most models. */
const HEADER_HEAD_BYTES = 32 * 1024;
/** A header beyond this (100,000 tensors) is not read: its file counts as whole. */
const MAX_HEADER_BYTES = 8 * 1024 * 1024;
const MAX_INDEX_BYTES = 2 * 1024 * 1024;
/** Files of one checkpoint that are looked into; more shards than this are taken to be whole. */
const MAX_HEADS = 128;
const LENGTH_BYTES = 8;
const SHARD = /^(.*)-(\d{5})-of-(\d{5})\.(?:safetensors|bin)$/;

/** What is to be read first. */
export function headsOf(found: FoundCheckpoint): WantedHead[] {
  const { facts } = readLayout(found).reader;
  const heads = found.files.flatMap(({ path, sizeBytes }): WantedHead[] => {
    if (facts !== undefined && path === `${found.path}/${facts.fileName}`) return [{ path, maxBytes: Math.min(sizeBytes, facts.maxBytes) }];
    if (path.endsWith('.safetensors')) return [{ path, maxBytes: Math.min(sizeBytes, HEADER_HEAD_BYTES) }];
    return path.endsWith('.index.json') && sizeBytes <= MAX_INDEX_BYTES ? [{ path, maxBytes: sizeBytes }] : [];
  });
  return heads.filter(({ maxBytes }) => maxBytes > 0).slice(0, MAX_HEADS);
}

/** What is to be read then: headers that are longer than what was read of them. */
export function longerHeadsOf(found: FoundCheckpoint, heads: FileHeads): WantedHead[] {
  return found.files.flatMap(({ path, sizeBytes }) => {
    const head = heads.get(path);
    if (!path.endsWith('.safetensors') || head === undefined || head.length < LENGTH_BYTES) return [];
    const maxBytes = headerEnd(head);
    return maxBytes > head.length && maxBytes <= Math.min(sizeBytes, MAX_HEADER_BYTES) ? [{ path, maxBytes }] : [];
  });
}

/** What is missing of it, in words; null when nothing is, or nobody can tell. What a listing lacks that stopped early may be there all the same. */
export function missingPart(found: FoundCheckpoint, heads: FileHeads, { truncated }: { truncated: boolean }): string | null {
  if (truncated) return found.files.map((file) => shortfall(file, heads)).find((missing) => missing !== null) ?? null;
  const { reader } = readLayout(found);
  const byLayout = reader.missingPart?.(found) ?? null;
  if (byLayout !== null) return byLayout;
  const names = new Set(found.files.map(({ path }) => path));
  for (const file of found.files) {
    const missing = missingShard(file, names, heads) ?? shortfall(file, heads);
    if (missing !== null) return missing;
  }
  return null;
}

function missingShard({ path }: CheckpointFile, names: ReadonlySet<string>, heads: FileHeads): string | null {
  const shard = SHARD.exec(path);
  if (shard !== null) {
    const [, stem = '', , count = ''] = shard;
    for (let number = 1; number <= Number(count); number += 1) {
      const name = `${stem}-${String(number).padStart(5, '0')}${path.slice(stem.length + 6)}`;
      if (!names.has(name)) return `shard ${number} of ${Number(count)}`;
    }
  }
  const index = path.endsWith('.index.json') ? heads.get(path) : undefined;
  const folder = path.slice(0, path.lastIndexOf('/') + 1);
  const absent = index === undefined ? undefined : shardsIn(index).find((name) => !names.has(folder + name));
  return absent === undefined ? null : `the shard ${absent}`;
}

function shardsIn(index: Buffer): string[] {
  try {
    const content: unknown = JSON.parse(index.toString('utf8'));
    const map = isJsonObject(content) ? content['weight_map'] : undefined;
    return isJsonObject(map) ? [...new Set(Object.values(map).filter((name) => typeof name === 'string'))] : [];
  } catch {
    return [];
  }
}

/** The end of a safetensors file that its header speaks of and that is not there. */
function shortfall({ path, sizeBytes }: CheckpointFile, heads: FileHeads): string | null {
  if (!path.endsWith('.safetensors')) return null;
  if (sizeBytes < LENGTH_BYTES) return 'the header of a safetensors file';
  const head = heads.get(path);
  if (head === undefined || head.length < LENGTH_BYTES) return null;
  const end = headerEnd(head);
  if (end > sizeBytes) return 'the header of a safetensors file';
  if (end > head.length) return null;
  const dataBytes = dataBytesIn(head.subarray(LENGTH_BYTES, end));
  if (dataBytes === null) return 'a readable header of a safetensors file';
  return sizeBytes < end + dataBytes ? 'the end of a safetensors file' : null;
}

function headerEnd(head: Buffer): number {
  return LENGTH_BYTES + Number(head.readBigUInt64LE());
}

function dataBytesIn(header: Buffer): number | null {
  try {
    const tensors: unknown = JSON.parse(header.toString('utf8'));
    if (!isJsonObject(tensors)) return null;
    let most = 0;
    for (const [name, tensor] of Object.entries(tensors)) {
      const end = isJsonObject(tensor) && Array.isArray(tensor['data_offsets']) ? tensor['data_offsets'][1] : undefined;
      if (name !== '__metadata__' && typeof end === 'number') most = Math.max(most, end);
    }
    return most;
  } catch {
    return null;
  }
}

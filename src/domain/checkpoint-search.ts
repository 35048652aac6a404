/**
 * Finds the checkpoints in the listing of a job directory. In `checkpoints/` (and any directory of that name) everything is one, except for
 * what plainly is none, such as logs and configuration. Elsewhere only what carries an unmistakable name. A directory is one checkpoint with
 * all its files, unless it merely holds checkpoints. Shards that belong together count as one.
 */
import { LAYOUT_READERS, readLayout } from './checkpoint-layouts/all-layouts.ts';
import type { CheckpointFile, FoundCheckpoint } from './checkpoint-layouts/layout.ts';
import { OWN_PREFIX } from './checkpoint-requests/archive-name.ts';
import { parseCheckpointName } from './checkpoint-name.ts';
import { ARTIFACTS_DIRECTORY, ATTEMPTS_DIRECTORY, CHECKPOINTS_DIRECTORY } from './layout.ts';

/** One entry somewhere below the job directory. */
export interface CheckpointEntry {
  /** Relative to the job directory, with `/` between parts. */
  relativePath: string;
  kind: 'file' | 'directory' | 'link' | 'other';
  sizeBytes: number;
  modifiedAt: Date;
  /** What a link points at, as written; null for anything else. */
  linkTarget: string | null;
}

export interface CheckpointSearch {
  found: FoundCheckpoint[];
  /** Links beside checkpoints. */
  links: CheckpointEntry[];
  /** Files beside checkpoints that name the newest. */
  pointers: CheckpointEntry[];
  /** Paths of archives of checkpoints. */
  archives: string[];
  /** Folders that were seen to hold something; '' is the job directory. */
  filledFolders: ReadonlySet<string>;
}

/** What is known of a job's checkpoints before its directory is searched; paths relative to that. */
export interface KnownPaths {
  /** What somebody said is a checkpoint: it is one, wherever it lies. */
  declared: ReadonlySet<string>;
  /** Where archives of checkpoints lie, or may: those are none themselves. */
  archives: ReadonlySet<string>;
}

/** How deep directories are searched for checkpoints. */
const MAX_SEARCH_DEPTH = 4;
const MAX_POINTER_BYTES = 4096;
const SHARD = /^(.+)-\d{5}-of-\d{5}\.(safetensors|bin)$/;
const SHARD_INDEX = /^.+\.(?:safetensors|bin)\.index\.json$/;
const TENSORFLOW_PART = /^(.+)\.(?:index|meta|data-\d{5}-of-\d{5})$/;
/** Of the framework's own, beside the weights. */
const COMPANION = /^(?:trainer_state\.json|training_args\.bin|optimizer\.(?:pt|bin)|scheduler\.(?:pt|bin)|scaler\.pt|rng_state.*\.pth|random_states_\d+\.pkl|zero_to_fp32\.py|.*events\.out\.tfevents\..*)$/;
const TEXT = /\.(?:jsonl?|txt|csv|ya?ml|toml|md|log|py|sh|html|png|svg|pdf)$/;
const LOG_DIRECTORIES = new Set(['runs', 'lightning_logs', 'logs', 'tensorboard', 'tb', 'wandb', 'mlruns', '__pycache__']);
/** Never searched: ours, or full of other things. */
const OTHER_DIRECTORIES = new Set([ATTEMPTS_DIRECTORY, ARTIFACTS_DIRECTORY, 'mlruns', 'wandb', 'node_modules', '__pycache__']);
const POINTER_NAMES = new Set(LAYOUT_READERS.flatMap(({ pointer }) => pointer?.fileName ?? []));

interface Node {
  path: string;
  name: string;
  entry: CheckpointEntry | null;
  children: Map<string, Node>;
}

/** Finds all that look like checkpoints, or are said to be. */
export function findCheckpoints(entries: readonly CheckpointEntry[], known: KnownPaths): CheckpointSearch {
  const search = new Search(known, entries);
  search.visit(treeOf(entries), { depth: 0, isStrict: true });
  const filledFolders = new Set(entries.map(({ relativePath }) => relativePath.slice(0, Math.max(0, relativePath.lastIndexOf('/')))));
  return { ...search.result, filledFolders };
}

function treeOf(entries: readonly CheckpointEntry[]): Node {
  const root: Node = { path: '', name: '', entry: null, children: new Map() };
  for (const entry of entries) {
    let node = root;
    for (const name of entry.relativePath.split('/')) {
      let child = node.children.get(name);
      if (child === undefined) node.children.set(name, child = { path: node.path === '' ? name : `${node.path}/${name}`, name, entry: null, children: new Map() });
      node = child;
    }
    node.entry = entry;
  }
  return root;
}

class Search {
  readonly result: Omit<CheckpointSearch, 'filledFolders'> = { found: [], links: [], pointers: [], archives: [] };
  readonly #declared: ReadonlySet<string>;
  readonly #archives: ReadonlySet<string>;
  /** Directories above those. */
  readonly #above = new Set<string>();

  constructor({ declared, archives }: KnownPaths, entries: readonly CheckpointEntry[]) {
    this.#declared = declared;
    this.#archives = new Set(entries.filter(({ relativePath, kind }) => kind === 'file' && archives.has(relativePath)).map(({ relativePath }) => relativePath));
    for (const path of [...declared, ...this.#archives]) {
      for (let end = path.lastIndexOf('/'); end > 0; end = path.lastIndexOf('/', end - 1)) this.#above.add(path.slice(0, end));
    }
  }

  /** `isStrict`: only what has an unmistakable name counts. */
  visit(directory: Node, where: { depth: number; isStrict: boolean }): void {
    for (const node of together(directory)) this.#look(node, where);
  }

  #look(node: Node, { depth, isStrict }: { depth: number; isStrict: boolean }): void {
    const kind = node.entry?.kind ?? 'directory';
    if (this.#archives.has(node.path)) return void this.result.archives.push(node.path);
    if (node.name.startsWith(OWN_PREFIX)) return;
    if (this.#declared.has(node.path) && kind !== 'link') return void this.result.found.push(foundAt(node));
    if (kind === 'other') return;
    if (kind === 'link') return void (isStrict || this.result.links.push(node.entry!));
    if (kind === 'file' && POINTER_NAMES.has(node.name) && node.entry!.sizeBytes <= MAX_POINTER_BYTES) return void this.result.pointers.push(node.entry!);
    const isCheckpoints = kind === 'directory' && node.name === CHECKPOINTS_DIRECTORY;
    const below = { depth: depth + 1, isStrict: isStrict && !isCheckpoints };
    if (this.#above.has(node.path) || (isStrict && isCheckpoints)) return this.visit(node, below);
    const found = foundAt(node);
    const { reader, reading } = readLayout(found);
    if (reader.isUnmistakable && !(isStrict && node.name.startsWith('.'))) return void this.result.found.push(found);
    if (kind === 'directory' && depth < MAX_SEARCH_DEPTH) {
      if (isStrict) return OTHER_DIRECTORIES.has(node.name) || node.name.startsWith('.') ? undefined : this.visit(node, below);
      if (LOG_DIRECTORIES.has(node.name)) return this.visit(node, { ...below, isStrict: true });
      if (reading.step === null && reading.epoch === null && reading.aliases.length === 0 && holdsCheckpoints(node)) return this.visit(node, below);
    }
    if (!isStrict && !isNoCheckpoint(node, found)) this.result.found.push(found);
  }
}

/** The children of a directory, with shards that belong together as one. Those of a link have no children. */
function together(directory: Node): Node[] {
  const names = new Set(directory.children.keys());
  const groups = new Map<string, Node>();
  const nodes: Node[] = [];
  for (const child of directory.children.values()) {
    const shard = child.entry?.kind === 'file' ? SHARD.exec(child.name) : null;
    const part = child.entry?.kind === 'file' ? TENSORFLOW_PART.exec(child.name)?.[1] : undefined;
    const isTensorflow = part !== undefined && names.has(`${part}.index`);
    const name = shard !== null ? `${shard[1]}.${shard[2]}.index.json` : isTensorflow ? part : SHARD_INDEX.test(child.name) ? child.name : null;
    if (name === null || child.entry?.kind !== 'file') {
      nodes.push(child);
      continue;
    }
    let group = groups.get(name);
    if (group === undefined) {
      group = { path: directory.path === '' ? name : `${directory.path}/${name}`, name, entry: child.entry, children: new Map() };
      groups.set(name, group);
      nodes.push(group);
    }
    group.children.set(child.name, child);
  }
  return nodes;
}

function foundAt(node: Node): FoundCheckpoint {
  const files: CheckpointFile[] = [];
  let modifiedAt = node.entry?.modifiedAt ?? new Date(0);
  const walk = ({ entry, children }: Node, isGroup: boolean): void => {
    if (entry !== null && entry.modifiedAt > modifiedAt) modifiedAt = entry.modifiedAt;
    if (entry?.kind === 'file' && !isGroup) files.push({ path: entry.relativePath, sizeBytes: entry.sizeBytes, modifiedAt: entry.modifiedAt });
    for (const child of children.values()) walk(child, false);
  };
  walk(node, node.children.size > 0);
  return { path: node.path, name: node.name, isDirectory: node.entry === null || node.entry.kind === 'directory', files, modifiedAt };
}

function holdsCheckpoints(directory: Node): boolean {
  return together(directory).some((child) => {
    if (child.entry?.kind === 'link') return false;
    const { reader, reading } = readLayout(foundAt(child));
    return reader.isUnmistakable || ((reading.step !== null || reading.epoch !== null) && !COMPANION.test(child.name));
  });
}

function isNoCheckpoint({ name, entry }: Node, found: FoundCheckpoint): boolean {
  if (found.isDirectory) return found.files.length > 0 && found.files.every(({ path }) => /events\.out\.tfevents\.|hparams\.yaml$/.test(path));
  if (COMPANION.test(name)) return true;
  const { step, epoch, aliases } = parseCheckpointName(name);
  // A trainer may save as JSON what it names like a checkpoint; `best_metrics.json` is none.
  const isNamed = step !== null || epoch !== null || aliases.some((alias) => name.startsWith(`${alias}.`));
  return entry !== null && TEXT.test(name) && !SHARD_INDEX.test(name) && !isNamed;
}

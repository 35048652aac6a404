/**
 * How frameworks lay checkpoints out on disk: one file a layout. A layout is pure. It sees names and sizes, and the beginnings of a few
 * small files; nothing is ever unpickled.
 */
import type { CheckpointName } from '../checkpoint-name.ts';

export const CHECKPOINT_LAYOUTS = ['LIGHTNING', 'HUGGING_FACE', 'DEEPSPEED', 'MEGATRON', 'ACCELERATE', 'ORBAX', 'KERAS', 'SAFETENSORS', 'PLAIN'] as const;
export type CheckpointLayout = (typeof CHECKPOINT_LAYOUTS)[number];

/** LOGGED: the job said so. FILE: a file of the checkpoint says so. NAME: it was read from the name. The former beat the latter. */
export const POSITION_SOURCES = ['LOGGED', 'FILE', 'NAME'] as const;
export type PositionSource = (typeof POSITION_SOURCES)[number];

/** CERTAIN: told by the job or its framework. LIKELY: a name that says what the number is. GUESS: a number alone. */
export const POSITION_CONFIDENCES = ['CERTAIN', 'LIKELY', 'GUESS'] as const;
export type PositionConfidence = (typeof POSITION_CONFIDENCES)[number];

/** A step or an epoch, and how it is known. */
export interface Position {
  value: number;
  source: PositionSource;
  confidence: PositionConfidence;
}

export interface CheckpointFile {
  /** Relative to the job directory. */
  path: string;
  sizeBytes: number;
  modifiedAt: Date;
}

/** Something that may be a checkpoint: a file, a directory, or files that belong together. */
export interface FoundCheckpoint {
  /** Relative to the job directory. */
  path: string;
  /** Last part of the path. */
  name: string;
  isDirectory: boolean;
  /** All that it is made of, however deep. */
  files: CheckpointFile[];
  /** When anything of it was last written. */
  modifiedAt: Date;
}

export interface CheckpointReading {
  step: Position | null;
  epoch: Position | null;
  /** `best` and `last`, where the name says so. */
  aliases: string[];
  /** Whether the framework itself marks it as not yet whole. */
  isUnfinished: boolean;
}

/** What a small file inside of a checkpoint tells. */
export interface CheckpointFacts {
  step?: number;
  epoch?: number;
  /** Name of the checkpoint that the framework holds for the best. */
  bestName?: string;
}

export interface LayoutReader {
  readonly layout: CheckpointLayout;
  /** Whether its names are unmistakable, so that they are checkpoints wherever below the job directory they lie. */
  readonly isUnmistakable: boolean;
  /** Null when it is not of this layout. */
  read(found: FoundCheckpoint): CheckpointReading | null;
  /** The file beside the checkpoints that names the newest whole one. */
  readonly pointer?: { fileName: string; targetOf(text: string): string | null };
  /** The file inside of a checkpoint that tells more than the name; read from its beginning. */
  readonly facts?: { fileName: string; maxBytes: number; factsOf(text: string): CheckpointFacts };
  /** Which of the checkpoint's parts is missing, in words; null when none is. */
  missingPart?(found: FoundCheckpoint): string | null;
}

/** Whether a file of that name lies in the checkpoint, at its top. */
export function hasFile(found: FoundCheckpoint, matches: RegExp): boolean {
  return found.files.some(({ path }) => path.startsWith(`${found.path}/`) && matches.test(path.slice(found.path.length + 1)));
}

export function certainly(value: number): Position {
  return { value, source: 'NAME', confidence: 'CERTAIN' };
}

/** A number that the framework itself put into the name; null when there is none, or one that is no step. */
export function certainNumber(digits: string | undefined): Position | null {
  const number = digits === undefined ? NaN : Number(digits);
  return Number.isSafeInteger(number) ? certainly(number) : null;
}

/** What a name says that follows no framework's rule. */
export function fromName({ step, epoch, aliases, isBareNumber }: CheckpointName): CheckpointReading {
  return {
    step: step === null ? null : { value: step, source: 'NAME', confidence: isBareNumber ? 'GUESS' : 'LIKELY' },
    epoch: epoch === null ? null : { value: epoch, source: 'NAME', confidence: 'LIKELY' },
    aliases, isUnfinished: false,
  };
}

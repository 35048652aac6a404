/** Lines of `checkpoints.jsonl`, in which a job says what it saved: `{"path": ..., "step": ..., "epoch": ..., "metrics": {...}, "time": ..., "aliases": [...]}`. */
import { isJsonObject } from './config-values.ts';
import type { Json } from './job-spec.ts';
import { parseMetricTime } from './metric-time.ts';
import { metricKeyProblem, stepProblem } from './readers/reader.ts';
import { parseStorableObject } from './storable-json.ts';

const MAX_PATH_BYTES = 4096;
const MAX_ALIASES = 20;
const MAX_ALIAS_LENGTH = 100;
/** More are kept as metrics of their own, not with a checkpoint. */
const MAX_METRICS = 200;

/** A checkpoint as its job speaks of it. */
export interface LoggedCheckpoint {
  /** Relative to the job directory where it lies below it, else absolute. */
  path: string;
  step: number | null;
  epoch: number | null;
  metrics: Record<string, number> | null;
  aliases: string[];
  time: Date;
}

/** What a line says, or in words that follow "a line of checkpoints.jsonl" why it cannot be taken. */
export function parseCheckpointLine(text: string, jobDirectory: string, now: Date): LoggedCheckpoint | string {
  const line = parseStorableObject(text);
  if (line === null) return 'is not a JSON object that can be stored';
  const path = typeof line['path'] === 'string' ? normalPath(line['path'], jobDirectory) : null;
  if (path === null) return 'names no path that can be used';
  const { step = null, epoch = null } = line;
  const problem = step === null ? null : stepProblem(step);
  if (problem !== null) return `has ${problem}`;
  if (epoch !== null && !(typeof epoch === 'number' && epoch >= 0)) return 'has an epoch that is not a number of 0 or more';
  return {
    path, step: step as number | null, epoch, metrics: metricsIn(line['metrics']), aliases: aliasesIn(line['aliases']), time: parseMetricTime(line['time']) ?? now,
  };
}

/** Without `.` and `..`; null where it is no path, or holds the job directory. */
function normalPath(path: string, jobDirectory: string): string | null {
  if (path === '' || Buffer.byteLength(path) > MAX_PATH_BYTES) return null;
  const parts: string[] = [];
  for (const part of (path.startsWith('/') ? path : `${jobDirectory}/${path}`).split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  }
  const absolute = `/${parts.join('/')}`;
  if (absolute === '/' || `${jobDirectory}/`.startsWith(`${absolute}/`)) return null;
  return absolute.startsWith(`${jobDirectory}/`) ? absolute.slice(jobDirectory.length + 1) : absolute;
}

function metricsIn(value: Json | undefined): Record<string, number> | null {
  if (!isJsonObject(value)) return null;
  const numbers = Object.entries(value).filter((entry): entry is [string, number] => typeof entry[1] === 'number' && metricKeyProblem(entry[0]) === null);
  return numbers.length === 0 ? null : Object.fromEntries(numbers.slice(0, MAX_METRICS));
}

function aliasesIn(value: Json | undefined): string[] {
  if (!Array.isArray(value)) return [];
  return value.filter((alias): alias is string => typeof alias === 'string' && alias !== '' && alias.length <= MAX_ALIAS_LENGTH).slice(0, MAX_ALIASES);
}

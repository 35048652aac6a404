/** Lines of `metrics.jsonl`: one JSON object each, numbers flat or nested. A bad line, or a bad key in one, loses only itself, with a reason. */
import { isJsonObject } from './config-values.ts';
import type { JsonObject } from './job-spec.ts';
import { parseMetricTime } from './metric-time.ts';
import { metricKeyProblem, stepProblem } from './readers/reader.ts';

/** Room for 10,000 metrics in one line; more is no metric line, and reading must be bounded. */
export const MAX_METRIC_LINE_BYTES = 1024 * 1024;
const MAX_METRIC_DEPTH = 16;
/** Keys that say where a line belongs and are no metrics themselves. */
const ENVELOPE_KEYS = ['step', 'phase'];
/** Members that may say when it was logged. */
export const TIME_KEYS = ['time', 'timestamp'];
/** Stands for NaN, which JSON cannot say; no program writes it by accident. */
const NAN_MARK = '\u0000NaN';

export interface MetricLine {
  ok: true;
  step: number;
  time: Date;
  /** No key twice; NaN and infinities as they are. Empty for a line without numbers. */
  values: { key: string; value: number }[];
  /** Why numbers were left out, in words that follow "a value": once for each. */
  refused: string[];
  /** The step for the next line that names none. */
  nextStep: number;
}

export interface DroppedLine {
  ok: false;
  reason: string;
}

/**
 * Reads one line. The step is `step`, else a whole `epoch`, else the running number `state.nextStep`, which goes on after
 * the greatest step named so far. `time` or `timestamp` may be ISO 8601 or a unix time; without one the time is `state.now`.
 * `phase` goes in front of the keys (`val/loss`), nested keys are joined by `/`; strings, booleans, nulls and lists are
 * ignored. `epoch` is a metric where it is not the step.
 */
export function parseMetricLine(line: string, state: { nextStep: number; now: Date }): MetricLine | DroppedLine {
  const parsed = parseLenientJson(line);
  if (parsed === undefined) return dropped('is not valid JSON');
  if (!isJsonObject(parsed)) return dropped('is not a JSON object');
  return readMetricObject(parsed, state);
}

/** Reads what a line says. */
export function readMetricObject(parsed: JsonObject, state: { nextStep: number; now: Date }): MetricLine | DroppedLine {
  const stated = statedStep(parsed);
  if (typeof stated === 'string') return dropped(stated);
  const { numbers, refused } = collectValues(parsed, stated.by);
  const values = [...numbers].map(([key, value]) => ({ key, value }));
  const step = stated.step ?? state.nextStep;
  const usedUp = stated.step !== null || values.length > 0;
  const nextStep = usedUp ? Math.min(Math.max(state.nextStep, step + 1), Number.MAX_SAFE_INTEGER) : state.nextStep;
  return { ok: true, step, time: statedTime(parsed) ?? state.now, values, refused, nextStep };
}

function dropped(reason: string): DroppedLine {
  return { ok: false, reason };
}

/** JSON, and outside of strings also the tokens NaN, Infinity and -Infinity that Python writes; `toNumber` makes a number of NaN again. Undefined if it is neither. */
export function parseLenientJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    if (!/NaN|Infinity/.test(line)) return undefined;
  }
  const replaced = line.replace(/"[^"\\]*(?:\\.[^"\\]*)*"|-?\bInfinity\b|\bNaN\b/g, (token) => {
    switch (token) {
      case 'NaN': return JSON.stringify(NAN_MARK);
      case 'Infinity': return '1e999';
      case '-Infinity': return '-1e999';
      default: return token;
    }
  });
  try {
    return JSON.parse(replaced);
  } catch {
    return undefined;
  }
}

/** A member of what `parseLenientJson` read. */
export function toNumber(value: unknown): unknown {
  return value === NAN_MARK ? NaN : value;
}

/** The step a line names and the key that names it, or the reason why it cannot be one. */
function statedStep(line: JsonObject): { step: number | null; by: 'step' | 'epoch' | null } | string {
  const { step, epoch } = line;
  if (step !== undefined && step !== null) {
    const problem = stepProblem(step);
    return problem === null ? { step: step as number, by: 'step' } : `has ${problem}`;
  }
  return stepProblem(epoch) === null ? { step: epoch as number, by: 'epoch' } : { step: null, by: null };
}

function statedTime(line: JsonObject): Date | null {
  for (const key of TIME_KEYS) {
    const time = parseMetricTime(line[key]);
    if (time !== null) return time;
  }
  return null;
}

function collectValues(line: JsonObject, stepKey: 'step' | 'epoch' | null): FlatNumbers {
  const prefix = typeof line.phase === 'string' && line.phase !== '' ? `${line.phase}/` : '';
  return flattenNumbers(line, {
    numberOf: toNumber,
    isLeftOut: (name, value) => isEnvelope(name, value, stepKey),
    keyOf: (path) => (path === 'epoch' || path.startsWith(prefix) ? path : prefix + path),
  });
}

export interface Flattening {
  /** What stands for a number is made one; anything else stays as it is. */
  numberOf(value: unknown): unknown;
  /** Whether a top-level member is no metric. */
  isLeftOut(name: string, value: unknown): boolean;
  /** The key of the number at a path of names joined by `/`. */
  keyOf(path: string): string;
}

export interface FlatNumbers {
  numbers: Map<string, number>;
  /** Why some were left out, in words that follow "a value": once for each. */
  refused: string[];
}

/** The numbers of an object, however nested, by key. Anything else in it is passed over. */
export function flattenNumbers(whole: JsonObject, { numberOf, isLeftOut, keyOf }: Flattening): FlatNumbers {
  const flat: FlatNumbers = { numbers: new Map(), refused: [] };
  const add = (key: string, value: number): void => {
    const problem = metricKeyProblem(key);
    if (problem === null) flat.numbers.set(key, value);
    else flat.refused.push(`has ${problem}`);
  };
  const walk = (object: JsonObject, path: string, depth: number): void => {
    if (depth > MAX_METRIC_DEPTH) return void flat.refused.push(`is nested more than ${MAX_METRIC_DEPTH} levels deep`);
    for (const [name, given] of Object.entries(object)) {
      if (depth === 1 && isLeftOut(name, given)) continue;
      const value = numberOf(given);
      if (isJsonObject(value)) walk(value, `${path}${name}/`, depth + 1);
      else if (typeof value === 'number') add(keyOf(path + name), value);
    }
  };
  walk(whole, '', 1);
  return flat;
}

/** Whether a top-level member says where the line belongs. A `time` that is no point in time is a measurement. */
function isEnvelope(name: string, value: unknown, stepKey: 'step' | 'epoch' | null): boolean {
  return ENVELOPE_KEYS.includes(name) || name === stepKey || (TIME_KEYS.includes(name) && parseMetricTime(value) !== null);
}

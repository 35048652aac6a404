import type { ConfigLeaf } from './config-values.ts';
import { canonicalJson } from './fingerprint.ts';

const MAX_JOB_NAME_LENGTH = 120;
/** One long value must not crowd out the others. */
const MAX_VALUE_LENGTH = 40;
/** Digits of a decimal that are shown; 17 tell any two doubles apart. */
const FEWEST_DIGITS = 4;
const MOST_DIGITS = 17;

/**
 * Short human names for jobs submitted together, such as `lr=0.1 depth=3 seed=2`: what differs between them, each key
 * cut to its last parts as long as that stays unambiguous. A job alone is named after all its values; where nothing
 * differs (or there are no values) the name is `fallback`. Names are for people: two jobs may share one.
 */
export function jobNames(jobs: readonly { axes: readonly ConfigLeaf[] }[], fallback: string): string[] {
  const valuesOf = new Map<string, { values: Set<string>; numbers: Set<number>; jobCount: number }>();
  for (const { axes } of jobs) {
    for (const { key, value } of axes) {
      const seen = valuesOf.get(key) ?? { values: new Set(), numbers: new Set(), jobCount: 0 };
      seen.values.add(canonicalJson(value));
      if (typeof value === 'number') seen.numbers.add(value);
      seen.jobCount += 1;
      valuesOf.set(key, seen);
    }
  }
  const varying = [...valuesOf.keys()].filter((key) => {
    const seen = valuesOf.get(key);
    return jobs.length === 1 || (seen !== undefined && (seen.values.size > 1 || seen.jobCount < jobs.length));
  });
  const labels = shortLabels(varying);
  const digits = new Map(varying.map((key) => [key, digitsFor([...valuesOf.get(key)?.numbers ?? []])]));
  return jobs.map(({ axes }) => {
    const parts = axes.flatMap(({ key, value }) => {
      const label = labels.get(key);
      return label === undefined ? [] : [`${singleLine(label)}=${shortValue(value, digits.get(key) ?? FEWEST_DIGITS)}`];
    });
    return fit(parts) || cut(singleLine(fallback), MAX_JOB_NAME_LENGTH);
  });
}

/** For each key its shortest ending, in whole parts, that no other key shares. */
function shortLabels(keys: readonly string[]): Map<string, string> {
  const ending = (key: string, parts: number): string => key.split('.').slice(-parts).join('.');
  const depth = keys.reduce((deepest, key) => Math.max(deepest, key.split('.').length), 0);
  const labels = new Map<string, string>();
  for (let parts = 1; parts <= depth; parts += 1) {
    const uses = new Map<string, number>();
    for (const key of keys) uses.set(ending(key, parts), (uses.get(ending(key, parts)) ?? 0) + 1);
    for (const key of keys) {
      if (!labels.has(key) && (uses.get(ending(key, parts)) === 1 || parts >= key.split('.').length)) labels.set(key, ending(key, parts));
    }
  }
  return labels;
}

/** As few digits as keep the different values of each key apart. */
function digitsFor(values: readonly number[]): number {
  const different = new Set(values).size;
  for (let digits = FEWEST_DIGITS; digits < MOST_DIGITS; digits += 1) {
    if (new Set(values.map((value) => rounded(value, digits))).size === different) return digits;
  }
  return MOST_DIGITS;
}

function rounded(value: number, digits: number): string {
  return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(digits)));
}

function shortValue(value: ConfigLeaf['value'], digits: number): string {
  if (typeof value === 'number') return rounded(value, digits);
  return cut(singleLine(typeof value === 'string' ? value : JSON.stringify(value)), MAX_VALUE_LENGTH);
}

/** All parts, or as many whole ones as fit. */
function fit(parts: readonly string[]): string {
  const name = parts.join(' ');
  if (name.length <= MAX_JOB_NAME_LENGTH) return name;
  let kept = '';
  for (const part of parts) {
    const longer = kept === '' ? part : `${kept} ${part}`;
    if (longer.length > MAX_JOB_NAME_LENGTH - 2) break;
    kept = longer;
  }
  return kept === '' ? cut(name, MAX_JOB_NAME_LENGTH) : `${kept} …`;
}

function singleLine(text: string): string {
  return text.replace(/[\s\p{C}]+/gu, ' ').trim();
}

/** Cuts between characters, never inside a surrogate pair. */
function cut(text: string, maxLength: number): string {
  if (text.length <= maxLength) return text;
  return `${text.slice(0, maxLength - 1).replace(/[\uD800-\uDBFF]$/, '')}…`;
}

/** Random draws of a sweep, reproducible from the recorded seed. */
import type { ConfigLeaf } from './config-values.ts';
import type { Json } from './job-spec.ts';

export interface NumberRange {
  min: number;
  max: number;
}

/** One parameter to draw: evenly from a range, evenly from the logarithm of a range, or one of several values. */
export type RandomParameter =
  | { key: string; range: NumberRange; /** Whole numbers, both ends included. */ integer?: boolean }
  | { key: string; logRange: NumberRange; integer?: boolean }
  | { key: string; choice: Json[] };

export interface RandomSpace {
  count: number;
  /** 0 to 2^53-1; chosen and recorded at submission when absent. */
  seed?: number;
  parameters: RandomParameter[];
}

/** `count` draws of all parameters. A larger count with the same seed begins with the same draws. */
export function drawParameters(space: RandomSpace): ConfigLeaf[][] {
  if (space.seed === undefined) throw new Error('random draws need a recorded seed');
  const next = sfc32(space.seed);
  return Array.from({ length: space.count }, () =>
    space.parameters.map((parameter) => ({ key: parameter.key, value: drawOne(parameter, next()) })));
}

function drawOne(parameter: RandomParameter, uniform: number): Json {
  if ('choice' in parameter) return parameter.choice[Math.floor(uniform * parameter.choice.length)] ?? null;
  const integer = parameter.integer ?? false;
  const { min, max } = 'range' in parameter ? parameter.range : parameter.logRange;
  const end = integer ? max + 1 : max;
  const drawn = 'range' in parameter
    ? min + uniform * (end - min)
    : Math.exp(Math.log(min) + uniform * (Math.log(end) - Math.log(min)));
  return Math.min(max, Math.max(min, integer ? Math.floor(drawn) : drawn));
}

/**
 * Chris Doty-Humphrey's generator sfc32 (PractRand, public domain; "Small Fast Chaotic", 128 bits of state), as numbers
 * in [0, 1) with 53 random bits. Recorded seeds depend on it: it must never change.
 */
function sfc32(seed: number): () => number {
  let [a, b, c, counter] = [0, seed | 0, Math.floor(seed / 2 ** 32) | 0, 1];
  const nextBits = (): number => {
    const sum = (a + b + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + sum) | 0;
    return sum >>> 0;
  };
  for (let round = 0; round < 15; round += 1) nextBits();
  return () => ((nextBits() >>> 5) * 2 ** 26 + (nextBits() >>> 6)) / 2 ** 53;
}

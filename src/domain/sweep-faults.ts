/** What can be wrong with a search space, found without expanding it. */
import { blockedAt, configLeaves, dottedKeyProblem, nestDottedKeys, validateConfig, validateJson } from './config-values.ts';
import type { UserFault } from './errors.ts';
import type { SubmissionLimits } from './cluster-settings.ts';
import { DEFAULT_SEED_KEY, sweepSize } from './sweep.ts';
import type { SweepSpace } from './sweep.ts';
import type { RandomParameter, RandomSpace } from './sweep-draws.ts';

/** All configurations of one sweep are written in one transaction and held in memory meanwhile. */
const MAX_SWEEP_CONFIG_BYTES = 256 * 1024 * 1024;

/** Every fault of a space; none means that `expandSweep` will succeed within the limits. */
export function validateSweepSpace(space: SweepSpace, limits: SubmissionLimits, field: string[] = ['space']): UserFault[] {
  const faults = [
    ...(space.base === undefined ? [] : validateConfig(space.base, [...field, 'base'], limits)),
    ...validateList(space, limits, field),
    ...(space.random === undefined ? [] : validateRandom(space.random, limits, [...field, 'random'])),
    ...(space.grid ?? []).flatMap((axis, index) =>
      validateAxis(axis.key, 'values', axis.values, limits, [...field, 'grid', String(index)])),
    ...validateSeeds(space, field),
  ];
  if (faults.length > 0) return faults;
  const tooLarge = validateSize(space, limits, field);
  return tooLarge.length > 0 ? tooLarge : validateOverlaps(space, field);
}

function bad(field: string[], message: string): UserFault {
  return { field, message, code: 'BAD_USER_INPUT' };
}

function validateSize(space: SweepSpace, limits: SubmissionLimits, field: string[]): UserFault[] {
  const size = sweepSize(space);
  if (size > limits.maxJobsPerSweep) {
    const shown = Number.isFinite(size) ? size.toLocaleString('en-US') : 'more than 10^308';
    const message = `stands for ${shown} jobs; the limit is ${limits.maxJobsPerSweep.toLocaleString('en-US')} a sweep. ${space.random === undefined ? 'Drop axes or values, or draw at random' : 'Draw less often, or drop axes or values'}`;
    return [{ field, message, code: 'LIMIT_EXCEEDED' }];
  }
  const bytesOf = (value: unknown): number => Buffer.byteLength(JSON.stringify(value));
  // Spreading a long list into arguments would overflow the stack.
  const mostBytes = (values: readonly unknown[]): number => values.reduce<number>((most, value) => Math.max(most, bytesOf(value)), 0);
  const listBytes = mostBytes(space.list ?? []);
  const axisBytes = [...(space.grid ?? []).map((axis) => axis.values), ...(space.random?.parameters ?? []).map((parameter) => ('choice' in parameter ? parameter.choice : []))]
    .reduce((sum, values) => sum + mostBytes(values), 0);
  const configBytes = bytesOf(space.base ?? {}) + listBytes + axisBytes;
  if (configBytes > limits.maxConfigBytes) {
    const message = `makes configurations of up to ${configBytes} bytes; the limit is ${limits.maxConfigBytes}. Put large data in a file and its path here`;
    return [{ field, message, code: 'LIMIT_EXCEEDED' }];
  }
  if (size * configBytes > MAX_SWEEP_CONFIG_BYTES) {
    const message = `makes ${size * configBytes} bytes of configurations; the limit is ${MAX_SWEEP_CONFIG_BYTES} a sweep. Split it, or put large data in a file`;
    return [{ field, message, code: 'LIMIT_EXCEEDED' }];
  }
  return [];
}

function validateList({ list }: SweepSpace, limits: SubmissionLimits, field: string[]): UserFault[] {
  if (list === undefined) return [];
  if (list.length === 0) return [bad([...field, 'list'], 'is empty; give at least one variant or leave it out')];
  return list.flatMap((variant, index) => validateConfig(variant, [...field, 'list', String(index)], limits));
}

function validateSeeds({ seeds }: SweepSpace, field: string[]): UserFault[] {
  if (seeds === undefined) return [];
  const keyProblem = dottedKeyProblem(seeds.key ?? DEFAULT_SEED_KEY);
  const values = seeds.values.flatMap((seed, index) =>
    Number.isSafeInteger(seed) ? [] : [bad([...field, 'seeds', 'values', String(index)], `must be an integer, not ${seed}`)]);
  return [
    ...(keyProblem === null ? [] : [bad([...field, 'seeds', 'key'], keyProblem)]),
    ...(seeds.values.length > 0 ? values.slice(0, 20) : [bad([...field, 'seeds', 'values'], 'is empty; give at least one seed or leave seeds out')]),
  ];
}

function validateAxis(key: string, name: string, values: unknown[], limits: SubmissionLimits, field: string[]): UserFault[] {
  const keyProblem = dottedKeyProblem(key);
  return [
    ...(keyProblem === null ? [] : [bad([...field, 'key'], keyProblem)]),
    ...(values.length > 0 ? [] : [bad([...field, name], `is empty; give "${key}" at least one value or leave it out`)]),
    ...values.flatMap((value, index) => {
      const path = [...field, name, String(index)];
      const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
      return isObject ? validateConfig(value, path, limits) : validateJson(value, path, limits);
    }),
  ];
}

function validateRandom(random: RandomSpace, limits: SubmissionLimits, field: string[]): UserFault[] {
  const { count, seed, parameters } = random;
  const faults: UserFault[] = [];
  if (!Number.isSafeInteger(count) || count < 1) faults.push(bad([...field, 'count'], `must be a whole number of 1 or more, not ${count}`));
  if (seed !== undefined && (!Number.isSafeInteger(seed) || seed < 0)) {
    faults.push(bad([...field, 'seed'], `must be a whole number from 0 to ${Number.MAX_SAFE_INTEGER}, not ${seed}`));
  }
  if (parameters.length === 0) faults.push(bad([...field, 'parameters'], 'is empty; name at least one parameter to draw'));
  return [...faults, ...parameters.flatMap((parameter, index) => validateParameter(parameter, limits, [...field, 'parameters', String(index)]))];
}

function validateParameter(parameter: RandomParameter, limits: SubmissionLimits, field: string[]): UserFault[] {
  const kinds = (['range', 'logRange', 'choice'] as const).filter((kind) => kind in parameter);
  if (kinds.length !== 1) {
    const found = kinds.length === 0 ? 'none' : kinds.join(' and ');
    return [bad(field, `"${parameter.key}" needs exactly one of range, logRange and choice; it has ${found}`)];
  }
  if ('choice' in parameter) return validateAxis(parameter.key, 'choice', parameter.choice, limits, field);
  const name = 'range' in parameter ? 'range' : 'logRange';
  const { min, max } = 'range' in parameter ? parameter.range : parameter.logRange;
  const keyProblem = dottedKeyProblem(parameter.key);
  const faults = keyProblem === null ? [] : [bad([...field, 'key'], keyProblem)];
  const path = [...field, name];
  if (!Number.isFinite(min) || !Number.isFinite(max) || !Number.isFinite(max - min)) {
    faults.push(bad(path, `min and max must be finite numbers, and so must their distance; they are ${min} and ${max}`));
  } else if (min >= max) {
    faults.push(bad(path, `min (${min}) must be less than max (${max})`));
  } else if (name === 'logRange' && min <= 0) {
    faults.push(bad(path, `min must be more than 0 (it is ${min}): a logarithm needs positive numbers; use range instead`));
  } else if (parameter.integer && !(Number.isSafeInteger(min) && Number.isSafeInteger(max + 1))) {
    faults.push(bad(path, `min and max must be whole numbers below 2^53 when integer is set; they are ${min} and ${max}`));
  }
  return faults;
}

/** Two parts that set the same key, or a key below a plain value: which would win is anyone's guess. */
function validateOverlaps(space: SweepSpace, field: string[]): UserFault[] {
  const base = nestDottedKeys(space.base ?? {});
  const sources: { name: string; path: string[]; keys: string[] }[] = [];
  if (space.list) {
    const keys = new Set(space.list.flatMap((variant) => configLeaves(variant).map((leaf) => leaf.key)));
    sources.push({ name: 'list', path: ['list'], keys: [...keys] });
  }
  (space.random?.parameters ?? []).forEach(({ key }, index) =>
    sources.push({ name: `random.parameters.${index}`, path: ['random', 'parameters', String(index), 'key'], keys: [key] }));
  (space.grid ?? []).forEach(({ key }, index) =>
    sources.push({ name: `grid.${index}`, path: ['grid', String(index), 'key'], keys: [key] }));
  if (space.seeds) sources.push({ name: 'seeds', path: ['seeds', 'key'], keys: [space.seeds.key ?? DEFAULT_SEED_KEY] });

  const setBy = new Map<string, string>();
  const groupOf = new Map<string, string>();
  return sources.flatMap(({ name, path, keys }) => {
    const faults = keys.flatMap((key) => {
      const parts = key.split('.');
      const groups = parts.slice(1).map((_, index) => parts.slice(0, index + 1).join('.'));
      const other = [key, ...groups].map((place) => setBy.get(place)).find((setter) => setter !== undefined) ?? groupOf.get(key);
      const blocked = blockedAt(base, key);
      if (other !== undefined) return [bad([...field, ...path], `"${key}" is already set by ${other}; each key may vary in one place only`)];
      if (blocked !== null) return [bad([...field, ...path], `"${key}" cannot be set because "${blocked}" is a plain value in base, not a group`)];
      return [];
    });
    for (const key of keys) {
      setBy.set(key, name);
      const parts = key.split('.');
      parts.slice(1).forEach((_, index) => groupOf.set(parts.slice(0, index + 1).join('.'), name));
    }
    return faults;
  });
}

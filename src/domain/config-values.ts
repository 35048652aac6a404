/**
 * Configurations as trees of values. A dot in a key is a path separator everywhere: `{"optim.lr": 1}` and
 * `{"optim": {"lr": 1}}` are the same configuration, stored in the nested form (`nestDottedKeys`), and a configuration
 * that says both is refused. Arrays are single values; keys of objects inside them are left as they are.
 */
import type { UserFault } from './errors.ts';
import { UserError } from './errors.ts';
import type { Json, JsonObject } from './job-spec.ts';

/** One value of a configuration under its dotted key. */
export interface ConfigLeaf {
  key: string;
  value: Json;
}

/** Deeper nesting is a mistake rather than a configuration, and recursion over it must end. */
const MAX_CONFIG_DEPTH = 32;
/** A caller mends these first; the rest of a long list says the same again. */
const MAX_FAULTS_PER_VALUE = 20;

/** Whether a value is an object in JSON's sense, neither null nor an array. */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Whether text cannot be stored or passed on as it is: it holds a NUL byte or half of a surrogate pair. */
export function textProblem(text: string): string | null {
  if (text.includes('\0')) return 'contains a NUL byte, which neither a program nor the database can take; remove it';
  if (/\p{Surrogate}/u.test(text)) return 'contains half of a surrogate pair, which is not valid Unicode; remove or replace it';
  return null;
}

/**
 * Every value under its dotted key, sorted by key, because the database does not keep the order of keys and a command
 * must come out the same every time. Arrays and empty objects are values.
 */
export function configLeaves(config: JsonObject): ConfigLeaf[] {
  const leaves: ConfigLeaf[] = [];
  const walk = (object: JsonObject, prefix: string): void => {
    for (const [name, value] of Object.entries(object)) {
      if (isJsonObject(value) && Object.keys(value).length > 0) walk(value, `${prefix}${name}.`);
      else leaves.push({ key: `${prefix}${name}`, value });
    }
  };
  walk(config, '');
  return leaves.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
}

/** The same configuration with every dotted key unfolded into nested objects. Expects what `validateConfig` accepts. */
export function nestDottedKeys(config: JsonObject): JsonObject {
  const hasDottedKey = (object: JsonObject): boolean =>
    Object.entries(object).some(([name, value]) => name.includes('.') || (isJsonObject(value) && hasDottedKey(value)));
  if (!hasDottedKey(config)) return config;
  return setAllDotted({}, configLeaves(config));
}

/** The value at a dotted key of a nested configuration (an object for a group of values), or undefined. */
export function getDotted(config: JsonObject, key: string): Json | undefined {
  let value: Json | undefined = config;
  for (const name of key.split('.')) {
    if (!isJsonObject(value) || !Object.hasOwn(value, name)) return undefined;
    value = value[name];
  }
  return value;
}

/**
 * The part of a dotted key that stands in its own way: the configuration holds a plain value there, so nothing can lie
 * below it. Null when the key can be set; a `null` gives way.
 */
export function blockedAt(config: JsonObject, key: string): string | null {
  const names = key.split('.');
  for (let length = 1; length < names.length; length += 1) {
    const prefix = names.slice(0, length).join('.');
    const value = getDotted(config, prefix);
    if (value === undefined || value === null) return null;
    if (!isJsonObject(value)) return prefix;
  }
  return null;
}

/** A configuration that differs in one value; see `setAllDotted`. */
export function setDotted(config: JsonObject, key: string, value: Json): JsonObject {
  return setAllDotted(config, [{ key, value }]);
}

/**
 * A configuration that differs in these values. What does not change is shared with the old one; what does is copied once,
 * however many values change in it. Throws UserError where a plain value stands in the way (see `blockedAt`).
 */
export function setAllDotted(config: JsonObject, leaves: readonly ConfigLeaf[]): JsonObject {
  const copies = new Set<JsonObject>();
  const copied = (object: JsonObject): JsonObject => {
    if (copies.has(object)) return object;
    const copy = { ...object };
    copies.add(copy);
    return copy;
  };
  const root = copied(config);
  for (const { key, value } of leaves) {
    const blocked = blockedAt(root, key);
    if (blocked !== null) {
      throw UserError.of('BAD_USER_INPUT', `"${key}" cannot be set because "${blocked}" is a plain value, not a group`);
    }
    const names = key.split('.');
    let place = root;
    for (const name of names.slice(0, -1)) {
      const child = Object.hasOwn(place, name) ? place[name] : undefined;
      const group = copied(isJsonObject(child) ? child : {});
      put(place, name, group);
      place = group;
    }
    put(place, names.at(-1) ?? '', value);
  }
  return root;
}

/** Plain assignment would take `__proto__` for the prototype. */
function put(object: JsonObject, name: string, value: Json): void {
  Object.defineProperty(object, name, { value, enumerable: true, configurable: true, writable: true });
}

/** How a value is written after `key=` in an override: strings raw, everything else as compact JSON. */
export function formatOverrideValue(value: Json): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** What is wrong with a dotted key, or null: every part must be non-empty and storable. */
export function dottedKeyProblem(key: string): string | null {
  const names = key.split('.');
  if (names.includes('')) return `"${key}" has an empty part; keys look like "optim.lr"`;
  if (names.includes('__proto__')) return '"__proto__" cannot be a key; choose another name';
  return textProblem(key);
}

/** Faults of one JSON value: bad text, numbers that would change on the way, too deep nesting, bad keys, too many bytes. */
export function validateJson(value: unknown, field: string[], limits: { maxConfigBytes: number }): UserFault[] {
  const faults: UserFault[] = [];
  const report = (path: string[], message: string): void => {
    if (faults.length < MAX_FAULTS_PER_VALUE) faults.push({ field: path, message, code: 'BAD_USER_INPUT' });
  };
  const walk = (node: unknown, path: string[], depth: number): void => {
    if (depth > MAX_CONFIG_DEPTH) return report(path, `is nested more than ${MAX_CONFIG_DEPTH} levels deep`);
    if (node === null || typeof node === 'boolean') return;
    if (typeof node === 'string' || typeof node === 'number') {
      const problem = typeof node === 'string' ? textProblem(node) : numberProblem(node);
      if (problem !== null) report(path, problem);
    } else if (Array.isArray(node)) {
      node.forEach((item, index) => walk(item, [...path, String(index)], depth + 1));
    } else if (isJsonObject(node)) {
      for (const [name, child] of Object.entries(node)) {
        const problem = dottedKeyProblem(name);
        if (problem !== null) report([...path, name], `bad key: ${problem}`);
        walk(child, [...path, name], depth + 1);
      }
    } else {
      report(path, `is ${typeof node}; allowed are null, booleans, numbers, strings, lists and objects`);
    }
  };
  walk(value, field, 0);
  if (faults.length > 0) return faults;
  const bytes = Buffer.byteLength(JSON.stringify(value));
  if (bytes <= limits.maxConfigBytes) return [];
  const message = `is ${bytes} bytes as JSON; the limit is ${limits.maxConfigBytes}. Put large data in a file and its path here`;
  return [{ field, message, code: 'LIMIT_EXCEEDED' }];
}

/** Faults of a whole configuration: those of `validateJson`, and keys that name the same place twice. */
export function validateConfig(value: unknown, field: string[], limits: { maxConfigBytes: number }): UserFault[] {
  if (!isJsonObject(value)) {
    return [{ field, message: 'must be an object such as {"optim": {"lr": 0.1}}', code: 'BAD_USER_INPUT' }];
  }
  const faults = validateJson(value, field, limits);
  if (faults.length > 0) return faults;
  const places = new Map<string, 'value' | 'group'>();
  for (const { key } of configLeaves(value)) {
    const names = key.split('.');
    const groups = names.slice(1).map((_, index) => names.slice(0, index + 1).join('.'));
    const valueAbove = groups.find((group) => places.get(group) === 'value');
    const taken = places.get(key);
    if (taken !== undefined) {
      const message = taken === 'value' ? `"${key}" is given twice (dotted and nested); give it once` : `"${key}" is both a value and a group`;
      faults.push({ field: [...field, key], message, code: 'BAD_USER_INPUT' });
    } else if (valueAbove !== undefined) {
      faults.push({ field: [...field, key], message: `"${valueAbove}" is both a value and a group`, code: 'BAD_USER_INPUT' });
    }
    for (const group of groups) if (!places.has(group)) places.set(group, 'group');
    places.set(key, 'value');
  }
  return faults.slice(0, MAX_FAULTS_PER_VALUE);
}

/** 1e21 and more is written with an exponent, which every reader takes as a float and so keeps. */
const INTEGERS_END_AT = 1e21;

function numberProblem(value: number): string | null {
  if (!Number.isFinite(value)) return 'is not a finite number; JSON has no NaN or Infinity, use null or a string';
  if (!Number.isInteger(value) || Number.isSafeInteger(value) || Math.abs(value) >= INTEGERS_END_AT) return null;
  return `is an integer beyond ${Number.MAX_SAFE_INTEGER}, which would arrive changed; pass it as a string`;
}

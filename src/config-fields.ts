/** The kinds of value that settings have. Each says in its fault what would be right and what was there. */
import { z } from 'zod';
import { nearestWords } from './domain/nearest-words.ts';

/** Where a fault belongs and what it says. */
export type ReportFault = (field: string[], message: string) => void;

/** Longer values are cut in a fault. */
const SHOWN_CHARACTERS = 80;

function shown(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (value === null) return 'empty (leave the line out for the default)';
  const text = JSON.stringify(value) ?? String(value);
  return text.length > SHOWN_CHARACTERS ? `${text.slice(0, SHOWN_CHARACTERS)}...` : text;
}

const says = (right: string) => (issue: { input?: unknown }) => `must be ${right}, not ${shown(issue.input)}`;

export function wholeNumber(min: number, max: number) {
  const error = says(`a whole number from ${min} to ${max}`);
  return z.int({ error }).min(min, { error }).max(max, { error });
}

export function positiveNumber(max: number) {
  const error = says(`a number above 0, at most ${max}`);
  return z.number({ error }).gt(0, { error }).max(max, { error });
}

export function number() {
  return z.number({ error: says('a number') });
}

export function trueOrFalse() {
  return z.boolean({ error: says('true or false') });
}

export function listOf<Item extends z.ZodType>(item: Item, right: string) {
  return z.array(item, { error: says(right) });
}

export function nonEmptyListOf<Item extends z.ZodType>(item: Item, right: string) {
  return listOf(item, right).min(1, { error: says(right) });
}

/** Non-empty text on one line. */
export function text(right = 'text on one line') {
  const error = says(right);
  return z.string({ error }).regex(/^[^\0\r\n]+$/, { error });
}

export function textMatching(pattern: RegExp, right: string) {
  const error = says(right);
  return z.string({ error }).regex(pattern, { error });
}

export function oneOf<const Values extends readonly [string, ...string[]]>(values: Values) {
  return z.enum(values, { error: says(`one of ${values.join(', ')}`) });
}

/** `https://lab.example.org`: what a browser sends as Origin. */
export function origin() {
  const error = says('an origin such as https://lab.example.org (scheme, host and port only)');
  return z.string({ error }).refine((value) => URL.canParse(value) && new URL(value).origin === value, { error });
}

/** A connection address; the value is not shown in a fault because it holds a password. */
export function postgresUrl() {
  const error = () => 'must be a PostgreSQL address such as postgres://user:password@host:5432/database (the value is not shown here: it may hold a password)';
  return z.string({ error }).refine((value) => URL.canParse(value) && /^postgres(ql)?:$/.test(new URL(value).protocol), { error });
}

/** A map with a closed list of keys, each of them optional. */
export function section<Shape extends z.core.$ZodLooseShape>(shape: Shape) {
  return z.strictObject(shape, {
    error: (issue) => (issue.code === 'unrecognized_keys' ? Object.keys(shape).join(' ') : says('a map of settings')(issue)),
  });
}

/** `"prot" is unknown; did you mean "port"? Valid: host, port`. */
export function unknownName(key: string, valid: readonly string[]): string {
  const [nearest] = nearestWords(key, valid, 1);
  return `${JSON.stringify(key)} is unknown${nearest ? `; did you mean "${nearest}"?` : '.'} Valid: ${valid.join(', ')}`;
}

/** The parsed value, or undefined after every fault in it was reported. */
export function parseReporting<Schema extends z.ZodType>(
  schema: Schema, value: unknown, path: string[], report: ReportFault,
): z.output<Schema> | undefined {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  for (const issue of result.error.issues) {
    const field = [...path, ...issue.path.map(String)];
    if (issue.code !== 'unrecognized_keys') report(field, issue.message);
    else for (const key of issue.keys) report([...field, key], unknownName(key, issue.message.split(' ')));
  }
  return undefined;
}

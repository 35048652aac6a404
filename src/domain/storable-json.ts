/** JSON that a job wrote, read only as far as the database can hold it: one value that it refuses would fail the jobs stored along with it. */
import { isJsonObject, textProblem } from './config-values.ts';
import type { Json, JsonObject } from './job-spec.ts';

/** PostgreSQL's parser and our own recursion end at some thousand levels; nobody reads a tenth of this. */
const MAX_DEPTH = 64;

/** The object in the text; null when it is none, nests too deep, or has text that no database takes (NUL, half of a surrogate pair). */
export function parseStorableObject(text: string): JsonObject | null {
  try {
    const value = JSON.parse(text) as Json;
    return isJsonObject(value) && isStorable(value, 1) ? value : null;
  } catch {
    return null;
  }
}

function isStorable(value: Json, depth: number): boolean {
  if (typeof value === 'string') return textProblem(value) === null;
  if (typeof value !== 'object' || value === null) return true;
  if (depth > MAX_DEPTH) return false;
  if (Array.isArray(value)) return value.every((each) => isStorable(each, depth + 1));
  return Object.entries(value).every(([key, each]) => textProblem(key) === null && isStorable(each, depth + 1));
}

import { isJsonObject } from '../domain/config-values.ts';
import type { Json, JsonObject } from '../domain/job-spec.ts';

/**
 * The configuration with its keys in the order in which the database gives them back (jsonb: shorter keys first, then by
 * bytes), so that a dry run renders the very text that a submission will.
 */
export function inStoredOrder(config: JsonObject): JsonObject {
  const names = Object.keys(config).map((name) => ({ name, bytes: Buffer.from(name) }));
  names.sort((a, b) => a.bytes.length - b.bytes.length || a.bytes.compare(b.bytes));
  return Object.fromEntries(names.map(({ name }) => [name, ordered(config[name] ?? null)]));
}

function ordered(value: Json): Json {
  if (Array.isArray(value)) return value.map(ordered);
  return isJsonObject(value) ? inStoredOrder(value) : value;
}

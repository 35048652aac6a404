/** Tags that tell a configuration value, as `tagKeys` of a sweep make them. */
import { getDotted } from './config-values.ts';
import type { Json, JsonObject } from './job-spec.ts';

/** The text of a config value in a tag. */
export function configTag(key: string, value: Json): string {
  return `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`;
}

/** The tags of a job after its configuration has changed: one that told the old value of a key tells the new one. */
export function tagsAfterChange(tags: readonly string[], from: JsonObject, to: JsonObject): string[] {
  return [...new Set(tags.map((tag) => {
    const key = tag.slice(0, Math.max(0, tag.indexOf('=')));
    const before = key === '' ? undefined : getDotted(from, key);
    const after = getDotted(to, key);
    return before === undefined || after === undefined || configTag(key, before) !== tag ? tag : configTag(key, after);
  }))];
}

import { createHash } from 'node:crypto';
import type { JobIdentity, Json } from './job-spec.ts';
import { isJsonObject } from './config-values.ts';

/** JSON in which equal values have equal text: keys sorted, no spaces, -0 written as 0. */
export function canonicalJson(value: Json): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (!isJsonObject(value)) return JSON.stringify(value);
  const members = Object.keys(value).sort().map((key) => `${JSON.stringify(key)}:${canonicalJson(value[key] ?? null)}`);
  return `{${members.join(',')}}`;
}

/** SHA-256 (hex) of what makes two jobs the same run. Expects a nested configuration (`nestDottedKeys`). */
export function fingerprint(identity: JobIdentity): string {
  const { command, config, environment, workingDirectory, codeVersion } = identity;
  return createHash('sha256').update(canonicalJson({ command, config, environment, workingDirectory, codeVersion })).digest('hex');
}

/** Errors for names that nobody has, with those that were probably meant. */
import type { Reader } from '../db/database.ts';
import { metricKeysOf, missingConfigKeys, missingMetrics } from '../db/read/known-names.ts';
import { configLeaves } from '../domain/config-values.ts';
import type { JobFilter } from '../domain/job-filter.ts';
import type { JobOrder } from '../domain/job-order.ts';
import { nearestWords } from '../domain/nearest-words.ts';
import { badInput, throwFaults } from './input-faults.ts';

/** So many names are listed in an error. */
const MAX_NAMED = 20;

/** Throws UserError BAD_USER_INPUT for metrics that no job of the experiments has and none is likely to log later (see `missingMetrics`). */
export async function refuseUnknownMetrics(reader: Reader, experimentIds: readonly string[], keys: readonly string[], field: string[]): Promise<void> {
  const missing = await missingMetrics(reader, experimentIds, keys);
  if (missing.length === 0) return;
  const known = await metricKeysOf(reader, experimentIds);
  throwFaults(missing.map((key) => badInput(field, `no job has a metric "${key}"; ${meant(key, known)}`)));
}

/** Throws UserError BAD_USER_INPUT for dotted keys that no job of the experiments has in its configuration. */
export async function refuseUnknownConfigKeys(reader: Reader, experimentIds: readonly string[], keys: readonly string[], field: string[]): Promise<void> {
  const found = await missingConfigKeys(reader, experimentIds, keys);
  if (found === null) return;
  const known = configLeaves(found.example).map((leaf) => leaf.key);
  throwFaults(found.missing.map((key) => badInput(field, `no job has a config value "${key}"; ${meant(key, known)}`)));
}

/** Why a filter of jobs of some experiments found none: throws UserError BAD_USER_INPUT where it names a value or a metric that no job of them has. */
export async function refuseUnknownConditions(reader: Reader, { experimentIds = [], config = [], metrics = [] }: JobFilter, field: string[]): Promise<void> {
  if (experimentIds.length === 0) return;
  // The other conditions hold for jobs without the value.
  const keys = config.filter(({ ne, exists }) => ne === undefined && exists !== false).map(({ key }) => key);
  if (keys.length > 0) await refuseUnknownConfigKeys(reader, experimentIds, keys, [...field, 'config']);
  if (metrics.length > 0) await refuseUnknownMetrics(reader, experimentIds, metrics.map(({ key }) => key), [...field, 'metrics']);
}

/** Throws UserError BAD_USER_INPUT where jobs of some experiments are put in order by a value or a metric that no job of them has. */
export async function refuseUnknownOrder(reader: Reader, experimentIds: readonly string[], order: readonly JobOrder[]): Promise<void> {
  if (experimentIds.length === 0) return;
  const keysOf = (field: 'CONFIG' | 'METRIC'): string[] => order.flatMap((each) => (each.field === field ? [each.key] : []));
  if (keysOf('CONFIG').length > 0) await refuseUnknownConfigKeys(reader, experimentIds, keysOf('CONFIG'), ['orderBy']);
  if (keysOf('METRIC').length > 0) await refuseUnknownMetrics(reader, experimentIds, keysOf('METRIC'), ['orderBy']);
}

function meant(name: string, known: readonly string[]): string {
  const near = nearestWords(name, known);
  if (near.length > 0) return `did you mean ${near.join(' or ')}?`;
  return `there are ${known.slice(0, MAX_NAMED).join(', ')}${known.length > MAX_NAMED ? ` and ${known.length - MAX_NAMED} more` : ''}`;
}

/** Errors for names that nobody has, with those that were probably meant. */
import type { Reader } from '../db/database.ts';
import { metricKeysOf, missingConfigKeys, missingMetrics } from '../db/read/known-names.ts';
import { configLeaves } from '../domain/config-values.ts';
import type { JobFilter } from '../domain/job-filter.ts';
import type { JobOrder } from '../domain/job-order.ts';
import { nearestWords } from '../domain/nearest-words.ts';
import { badInput, throwFaults } from './input-faults.ts';

/** So many names are listed in an error, and so many are complained of. */
const MAX_NAMED = 20;
const MAX_SHOWN_CHARACTERS = 100;
/** So many names are looked up: whoever asks for more learns of these first. */
const MAX_LOOKED_UP = 100;

/** Throws UserError BAD_USER_INPUT for metrics that no job of the experiments has and none is likely to log later (see `missingMetrics`). */
export async function refuseUnknownMetrics(reader: Reader, experimentIds: readonly string[], keys: readonly string[], field: string[]): Promise<void> {
  const missing = await missingMetrics(reader, experimentIds, keys.slice(0, MAX_LOOKED_UP));
  if (missing.length === 0) return;
  const known = await metricKeysOf(reader, experimentIds);
  throwFaults(missing.slice(0, MAX_NAMED).map((key) => badInput(field, `no job has a metric "${shown(key)}"; ${meant(key, known)}`)));
}

/** Throws UserError BAD_USER_INPUT for dotted keys that no job of the experiments has in its configuration. */
export async function refuseUnknownConfigKeys(reader: Reader, experimentIds: readonly string[], keys: readonly string[], field: string[]): Promise<void> {
  const found = await missingConfigKeys(reader, experimentIds, keys.slice(0, MAX_LOOKED_UP));
  if (found === null) return;
  const known = configLeaves(found.example).map((leaf) => leaf.key);
  throwFaults(found.missing.slice(0, MAX_NAMED).map((key) => badInput(field, `no job has a config value "${shown(key)}"; ${meant(key, known)}`)));
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

/** Somebody may ask for a name of any length. */
function shown(name: string): string {
  return name.length > MAX_SHOWN_CHARACTERS ? `${name.slice(0, MAX_SHOWN_CHARACTERS)}...` : name;
}

function meant(name: string, known: readonly string[]): string {
  const near = nearestWords(name, known);
  if (near.length > 0) return `did you mean ${near.join(' or ')}?`;
  return `there are ${known.slice(0, MAX_NAMED).join(', ')}${known.length > MAX_NAMED ? ` and ${known.length - MAX_NAMED} more` : ''}`;
}

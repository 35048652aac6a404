/** What a leaderboard could have been asked for, read only where it may have been asked for something that is not there. */
import { asc, eq, sql } from 'drizzle-orm';
import type { JsonObject } from '../../domain/job-spec.ts';
import type { Reader } from '../database.ts';
import { jobs, metricSeries } from '../tables/index.ts';
import { configValue } from './job-filter.ts';

/** Keys of the metrics that jobs of the experiment have, sorted. */
export async function metricKeysOf(reader: Reader, experimentId: string): Promise<string[]> {
  const rows = await reader.selectDistinct({ key: metricSeries.key }).from(metricSeries).innerJoin(jobs, eq(jobs.id, metricSeries.jobId))
    .where(eq(jobs.experimentId, experimentId)).orderBy(asc(metricSeries.key));
  return rows.map((row) => row.key);
}

/** Which of the dotted keys no job of the experiment has in its configuration, and the newest configuration; null without jobs. */
export async function missingConfigKeys(reader: Reader, experimentId: string, keys: readonly string[]): Promise<{ missing: string[]; example: JsonObject } | null> {
  const [newest] = await reader.select({ config: jobs.config }).from(jobs).where(eq(jobs.experimentId, experimentId)).orderBy(sql`${jobs.id} desc`).limit(1);
  if (newest === undefined) return null;
  const missing: string[] = [];
  for (const key of keys) {
    const found = await reader.select({ id: jobs.id }).from(jobs).where(sql`${jobs.experimentId} = ${experimentId} and ${configValue(key)} is not null`).limit(1);
    if (found.length === 0) missing.push(key);
  }
  return { missing, example: newest.config };
}

import { sql } from 'drizzle-orm';
import type { MetricRetention } from '../../domain/metric-retention.ts';
import type { Transaction } from '../database.ts';
import { projects } from '../tables/index.ts';

/** Answers whether it was another one until now. */
export async function setMetricRetention(transaction: Transaction, name: string, retention: MetricRetention): Promise<boolean> {
  const rows = await transaction.insert(projects).values({ name, ...retention }).onConflictDoUpdate({
    target: projects.name, set: { ...retention }, setWhere: sql`(${projects.exactDays}, ${projects.pointsPerSeries}) is distinct from (excluded.exact_days, excluded.points_per_series)`,
  }).returning({ name: projects.name });
  return rows.length > 0;
}

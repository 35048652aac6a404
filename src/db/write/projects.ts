import type { MetricRetention } from '../../domain/metric-retention.ts';
import type { Transaction } from '../database.ts';
import { projects } from '../tables/index.ts';

export async function setMetricRetention(transaction: Transaction, name: string, retention: MetricRetention): Promise<void> {
  await transaction.insert(projects).values({ name, ...retention }).onConflictDoUpdate({ target: projects.name, set: { ...retention } });
}

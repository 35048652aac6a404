import { eq } from 'drizzle-orm';
import { DEFAULT_METRIC_RETENTION, type MetricRetention } from '../../domain/metric-retention.ts';
import type { Reader } from '../database.ts';
import { experiments, projects } from '../tables/index.ts';

export interface ProjectRow {
  name: string;
  metricRetention: MetricRetention;
}

/** The project with what was set for it; null when no experiment names it. */
export async function projectByName(reader: Reader, name: string): Promise<ProjectRow | null> {
  const [row] = await reader.select({ exactDays: projects.exactDays, pointsPerSeries: projects.pointsPerSeries })
    .from(experiments).leftJoin(projects, eq(projects.name, experiments.project)).where(eq(experiments.project, name)).limit(1);
  if (row === undefined) return null;
  const { exactDays, pointsPerSeries } = row;
  return { name, metricRetention: pointsPerSeries === null ? DEFAULT_METRIC_RETENTION : { exactDays, pointsPerSeries } };
}

/** The names of some projects, for messages. */
export async function projectNames(reader: Reader, most: number): Promise<string[]> {
  return (await reader.selectDistinct({ name: experiments.project }).from(experiments).orderBy(experiments.project).limit(most)).map(({ name }) => name);
}

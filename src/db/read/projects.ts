import { eq, sql } from 'drizzle-orm';
import { DEFAULT_METRIC_RETENTION, type MetricRetention } from '../../domain/metric-retention.ts';
import type { Reader } from '../database.ts';
import { experiments, projects } from '../tables/index.ts';
import { countRows, readPage, type Page, type PageRequest, type PageSource } from './page.ts';

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

/** All that experiments name, by name; those for which nothing was set with the defaults. */
const ALL_PROJECTS: PageSource<typeof projects> = {
  table: projects,
  from: sql`(select named.name, settings.exact_days, coalesce(settings.points_per_series, ${DEFAULT_METRIC_RETENTION.pointsPerSeries}::int) as points_per_series
    from (select distinct project as name from experiments) as named left join projects settings using (name)) as projects`,
  where: undefined,
  order: [{ expression: projects.name, type: 'text', descending: false, nullable: false, name: 'name' }],
};

/** A page of all projects, by name. Throws UserError for a foreign cursor. */
export async function projectPage(reader: Reader, request: PageRequest): Promise<Page<ProjectRow>> {
  const { rows, hasNextPage } = await readPage(reader, ALL_PROJECTS, request);
  return { rows: rows.map(({ row: { name, ...metricRetention }, cursor }) => ({ row: { name, metricRetention }, cursor })), hasNextPage };
}

export async function countProjects(reader: Reader): Promise<number> {
  return countRows(reader, ALL_PROJECTS);
}

/** The names of some projects, for messages. */
export async function projectNames(reader: Reader, most: number): Promise<string[]> {
  return (await reader.selectDistinct({ name: experiments.project }).from(experiments).orderBy(experiments.project).limit(most)).map(({ name }) => name);
}

/** The ids of its experiments, oldest first. */
export async function experimentIdsOf(reader: Reader, project: string): Promise<string[]> {
  return (await reader.select({ id: experiments.id }).from(experiments).where(eq(experiments.project, project)).orderBy(experiments.createdAt, experiments.id)).map(({ id }) => id);
}

/** Reads of experiments and their sweeps. */
import { and, eq, or, sql } from 'drizzle-orm';
import type { TimeRange } from '../../domain/job-filter.ts';
import type { Reader } from '../database.ts';
import { experiments, sweeps } from '../tables/index.ts';
import { timeConditions, uuidIn } from './job-filter.ts';
import type { OrderTerm, PageSource } from './page.ts';
import { inOrderOf } from './rows.ts';

export type ExperimentRow = typeof experiments.$inferSelect;
export type SweepRow = typeof sweeps.$inferSelect;

/** Which experiments are meant; all given conditions must hold. */
export interface ExperimentFilter {
  ids?: string[];
  project?: string;
  nameContains?: string;
  tagsAll?: string[];
  tagsAny?: string[];
  createdAt?: TimeRange;
}

/** What an experiment is called: unique in its project. */
export interface ExperimentName {
  project: string;
  name: string;
}

/** Experiments by id, in the order asked for, null where there is none. */
export async function experimentsById(reader: Reader, ids: readonly string[]): Promise<(ExperimentRow | null)[]> {
  const rows = await reader.select().from(experiments).where(uuidIn(experiments.id, ids));
  return inOrderOf(ids, rows, (row) => row.id);
}

/** Experiments by project and name, in the order asked for, null where there is none. */
export async function experimentsByName(reader: Reader, names: readonly ExperimentName[]): Promise<(ExperimentRow | null)[]> {
  const rows = await reader.select().from(experiments)
    .where(or(...names.map(({ project, name }) => and(eq(experiments.project, project), eq(experiments.name, name)))));
  return inOrderOf(names.map(nameKey), rows, nameKey);
}

/** Experiments, newest first. */
export function experimentSource(filter: ExperimentFilter): PageSource<typeof experiments> {
  return {
    table: experiments,
    where: and(
      uuidIn(experiments.id, filter.ids),
      filter.project === undefined ? undefined : eq(experiments.project, filter.project),
      filter.nameContains === undefined ? undefined : sql`strpos(lower(${experiments.name}), lower(${filter.nameContains})) > 0`,
      filter.tagsAll === undefined ? undefined : sql`${experiments.tags} @> ${sql.param(filter.tagsAll)}::text[]`,
      filter.tagsAny === undefined ? undefined : sql`${experiments.tags} && ${sql.param(filter.tagsAny)}::text[]`,
      ...timeConditions(experiments.createdAt, filter.createdAt),
    ),
    order: [createdAt(experiments.createdAt, true), id(experiments.id, true)],
  };
}

/** Sweeps by id, in the order asked for, null where there is none. */
export async function sweepsById(reader: Reader, ids: readonly string[]): Promise<(SweepRow | null)[]> {
  const rows = await reader.select().from(sweeps).where(uuidIn(sweeps.id, ids));
  return inOrderOf(ids, rows, (row) => row.id);
}

/** Sweeps, oldest first. */
export function sweepSource(): PageSource<typeof sweeps> {
  return { table: sweeps, where: undefined, order: [createdAt(sweeps.createdAt, false), id(sweeps.id, false)] };
}

function nameKey({ project, name }: ExperimentName): string {
  return JSON.stringify([project, name]);
}

function createdAt(expression: OrderTerm['expression'], descending: boolean): OrderTerm {
  return { expression, type: 'timestamptz', descending, nullable: false, name: 'createdAt' };
}

function id(expression: OrderTerm['expression'], descending: boolean): OrderTerm {
  return { expression, type: 'uuid', descending, nullable: false, name: 'id' };
}

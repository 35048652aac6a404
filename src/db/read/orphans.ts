/** Reads of orphans. */
import { and, asc, eq, isNotNull, type SQL } from 'drizzle-orm';
import type { OrphanKind } from '../../domain/orphan.ts';
import type { Reader } from '../database.ts';
import { batches, orphans } from '../tables/index.ts';
import { textIn, uuidIn } from './job-filter.ts';
import type { PageSource } from './page.ts';

export type OrphanRow = typeof orphans.$inferSelect;

/** Which orphans are meant; all given conditions must hold. */
export interface OrphanFilter {
  clusters?: string[];
  kinds?: OrphanKind[];
  tokens?: string[];
  /** Ids of arrays or single jobs. */
  slurmJobIds?: string[];
  project?: string;
  experiment?: string;
  /** True: those that are ignored, too. */
  includeIgnored?: boolean;
}

export type OrphanSelection = { ids: readonly string[] } | { filter: OrphanFilter };

/** Orphans that pass the filter, oldest first. */
export function orphanSource(filter: OrphanFilter): PageSource<typeof orphans> {
  return {
    table: orphans,
    where: conditionOf({ filter }),
    order: [
      { expression: orphans.since, type: 'timestamptz', descending: false, nullable: false, name: 'since' },
      { expression: orphans.id, type: 'uuid', descending: false, nullable: false, name: 'id' },
    ],
  };
}

/** The selected orphans by id, at most `limit`. */
export async function selectOrphans(reader: Reader, selection: OrphanSelection, limit: number): Promise<OrphanRow[]> {
  return reader.select().from(orphans).where(conditionOf(selection)).orderBy(asc(orphans.id)).limit(limit);
}

/** All that a cluster has. */
export async function readOrphansOfCluster(reader: Reader, cluster: string): Promise<OrphanRow[]> {
  return reader.select().from(orphans).where(eq(orphans.cluster, cluster));
}

/** Those about which something is to be done. */
export async function readWishedOrphans(reader: Reader, cluster: string): Promise<OrphanRow[]> {
  return reader.select().from(orphans).where(and(eq(orphans.cluster, cluster), isNotNull(orphans.wish))).orderBy(asc(orphans.id));
}

/** Which of the tokens belong to submissions that the database has. */
export async function readKnownTokens(reader: Reader, tokens: readonly string[]): Promise<string[]> {
  const rows = await reader.select({ token: batches.token }).from(batches).where(textIn(batches.token, tokens));
  return rows.map((row) => row.token);
}

function conditionOf(selection: OrphanSelection): SQL | undefined {
  if ('ids' in selection) return uuidIn(orphans.id, selection.ids);
  const { clusters, kinds, tokens, slurmJobIds, project, experiment, includeIgnored } = selection.filter;
  return and(
    textIn(orphans.cluster, clusters), textIn(orphans.kind, kinds), textIn(orphans.token, tokens), textIn(orphans.slurmJobId, slurmJobIds),
    project === undefined ? undefined : eq(orphans.project, project),
    experiment === undefined ? undefined : eq(orphans.experiment, experiment),
    includeIgnored === true ? undefined : eq(orphans.ignored, false),
  );
}

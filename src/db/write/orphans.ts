/** What the reconciler finds out about orphans, and what people wish to be done about them. */
import { and, eq, sql } from 'drizzle-orm';
import type { OrphanWish } from '../../domain/orphan.ts';
import type { Database, Transaction } from '../database.ts';
import { newId } from '../ids.ts';
import { uuidIn } from '../read/job-filter.ts';
import type { OrphanRow } from '../read/orphans.ts';
import { orphans } from '../tables/index.ts';
import { transact } from '../transaction.ts';

/** An orphan as the reconciler sees it. */
export type SeenOrphan = Pick<OrphanRow,
  'kind' | 'key' | 'token' | 'slurmJobId' | 'state' | 'taskCount' | 'nodeList' | 'since' | 'submittedAt' | 'jobId' | 'attemptNumber'>;

/** Records what is new or has changed. Answers the rows as they are then. */
export async function storeOrphans(transaction: Transaction, cluster: string, seen: readonly SeenOrphan[]): Promise<OrphanRow[]> {
  if (seen.length === 0) return [];
  return transaction.insert(orphans).values(seen.map((orphan) => ({ id: newId(), cluster, ...orphan }))).onConflictDoUpdate({
    target: [orphans.cluster, orphans.kind, orphans.key],
    set: { token: sql`excluded.token`, state: sql`excluded.state`, taskCount: sql`excluded.task_count`, nodeList: sql`excluded.node_list` },
  }).returning();
}

/** They are none any more. */
export async function deleteOrphans(transaction: Transaction, ids: readonly string[]): Promise<void> {
  if (ids.length > 0) await transaction.delete(orphans).where(uuidIn(orphans.id, ids));
}

/** What its script says about where a job belongs. */
export type OrphanOrigin = { project: string; experiment: string } | { originProblem: string };

export async function storeOrphanOrigin(database: Database, id: string, origin: OrphanOrigin): Promise<void> {
  await transact(database, (transaction) => transaction.update(orphans).set(origin).where(eq(orphans.id, id)));
}

/** The wish is done with; `problem` says why it came to nothing, if it did. A wish made since then stays. */
export async function endOrphanWish(database: Database, { id, wish }: Pick<OrphanRow, 'id' | 'wish'>, problem: string | null): Promise<void> {
  if (wish === null) return;
  await transact(database, (transaction) => transaction.update(orphans).set({ wish: null, wishProblem: problem }).where(and(eq(orphans.id, id), eq(orphans.wish, wish))));
}

/** The wish takes the place of one that was not carried out yet. */
export async function wishForOrphans(transaction: Transaction, ids: readonly string[], wish: OrphanWish, wishedBy: string): Promise<void> {
  if (ids.length > 0) await transaction.update(orphans).set({ wish, wishedBy, wishProblem: null }).where(uuidIn(orphans.id, ids));
}

export async function ignoreOrphans(transaction: Transaction, ids: readonly string[]): Promise<void> {
  if (ids.length > 0) await transaction.update(orphans).set({ ignored: true }).where(uuidIn(orphans.id, ids));
}

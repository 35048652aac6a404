/**
 * The term of a reconciler: a number that grows with every takeover of its cluster. A process that was stopped or cut off for a while
 * may believe that it still holds the cluster's lock; its writes are refused by the term, whatever it believes.
 */
import { sql } from 'drizzle-orm';
import type pg from 'pg';
import type { Database } from './database.ts';

export interface ClusterTerm {
  cluster: string;
  term: number;
}

/** Begins the next term. Waits for the transactions of the term before. Only for whoever has just got the lock. */
export async function beginTerm(client: pg.Client, cluster: string): Promise<ClusterTerm> {
  const { rows } = await client.query<{ term: string }>(`
    insert into cluster_terms (cluster, term) values ($1, 1) on conflict (cluster) do update set term = cluster_terms.term + 1 returning term`, [cluster]);
  return { cluster, term: Number(rows[0]?.term) };
}

/** The database for the reconciler of a term: every transaction begins by making sure that the term lasts, and nobody can end it before the commit. */
export function databaseOfTerm(database: Database, { cluster, term }: ClusterTerm): Database {
  const ofTerm = Object.create(database) as Database;
  ofTerm.transaction = (work, config) => database.transaction(async (transaction) => {
    const { rowCount } = await transaction.execute(sql`select 1 from cluster_terms where cluster = ${cluster} and term = ${term} for share`);
    if (rowCount === 0) throw new Error(`another process reconciles cluster ${cluster} by now; nothing was written`);
    return work(transaction);
  }, config);
  return ofTerm;
}

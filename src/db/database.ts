/** The types by which the other rooms hold the database. */
import type { NodePgDatabase } from 'drizzle-orm/node-postgres';
import type { PgTransaction } from 'drizzle-orm/pg-core';
import type { NodePgQueryResultHKT } from 'drizzle-orm/node-postgres';
import type { ExtractTablesWithRelations } from 'drizzle-orm';
import type pg from 'pg';
import type * as tables from './tables/index.ts';

export type Tables = typeof tables;
/** A pool of connections. Reads take it; writes go through `database.transaction`. */
export type Database = NodePgDatabase<Tables> & { $client: pg.Pool };
/** An open transaction. Every function in db/write takes one, so that a write cannot happen outside. */
export type Transaction = PgTransaction<NodePgQueryResultHKT, Tables, ExtractTablesWithRelations<Tables>>;
/** Whatever can run a SELECT. */
export type Reader = Database | Transaction;

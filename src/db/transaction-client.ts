/** The connection that a transaction runs on, for COPY: drizzle does not give it away. */
import type pg from 'pg';
import type { Transaction } from './database.ts';

const clients = new WeakMap<Transaction, pg.PoolClient>();

export function rememberClient(transaction: Transaction, client: pg.PoolClient): void {
  clients.set(transaction, client);
}

/** Throws for a transaction that was not opened by the database of `connect`, such as one inside another. */
export function clientOf(transaction: Transaction): pg.PoolClient {
  const client = clients.get(transaction);
  if (client === undefined) throw new Error('the connection of this transaction is not known');
  return client;
}

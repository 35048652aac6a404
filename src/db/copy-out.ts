/**
 * Long binary values out of PostgreSQL, by COPY in its binary format: every other statement is answered in text, where each byte takes two,
 * and reading them back costs more than the statement.
 */
import pg from 'pg';
import type { Database } from './database.ts';
import { asDatabaseError } from './errors.ts';

/** Before the first row: a signature of 11 bytes, flags, and the length of an extension that nobody uses. */
const HEADER_BYTES = 19;
const NO_VALUE = -1;
const END_OF_ROWS = -1;
const EMPTY = Buffer.alloc(0);

/**
 * Runs a query without parameters and hands over its rows as they come: each value as PostgreSQL sends it in binary, NULL as no bytes.
 * The values are valid only until `take` returns.
 */
export async function copyOut(database: Database, query: string, take: (row: readonly Buffer[]) => void): Promise<void> {
  const client = await database.$client.connect();
  let isBroken = false;
  let failure: Error | undefined;
  // The driver calls it, and must not be thrown at.
  const takeSafely = (row: readonly Buffer[]): void => {
    try {
      if (failure === undefined) take(row);
    } catch (error) {
      failure = error as Error;
    }
  };
  try {
    await new Promise<void>((resolve, reject) => {
      client.query(new CopyOut(`copy (${query}) to stdout (format binary)`, takeSafely, (error) => { if (error ?? failure) reject((error ?? failure)!); else resolve(); }));
    });
  } catch (error) {
    isBroken = asDatabaseError(error)?.code === 'DATABASE_UNAVAILABLE';
    throw error;
  } finally {
    client.release(isBroken);
  }
}

class CopyOut extends pg.Query {
  readonly #take: (row: readonly Buffer[]) => void;
  #begun = false;

  constructor(statement: string, take: (row: readonly Buffer[]) => void, done: (error: Error | undefined) => void) {
    super(statement, done);
    this.#take = take;
  }

  /** The driver calls it for each row, which lies in memory that it uses again. */
  handleCopyData({ chunk }: { chunk: Buffer }): void {
    let offset = this.#begun ? 0 : HEADER_BYTES;
    this.#begun = true;
    const columnCount = chunk.readInt16BE(offset);
    if (columnCount === END_OF_ROWS) return;
    offset += Int16Array.BYTES_PER_ELEMENT;
    const row: Buffer[] = [];
    for (let column = 0; column < columnCount; column += 1) {
      const length = chunk.readInt32BE(offset);
      offset += Int32Array.BYTES_PER_ELEMENT;
      row.push(length === NO_VALUE ? EMPTY : chunk.subarray(offset, offset + length));
      offset += Math.max(0, length);
    }
    this.#take(row);
  }
}

import { sql } from 'drizzle-orm';
import type { Reader } from '../database.ts';

/** The time by the clock of the database, which dates what is written there; no later than it is. */
export async function readDatabaseTime(reader: Reader): Promise<Date> {
  const { rows: [row] } = await reader.execute<{ ms: string }>(sql`select floor(extract(epoch from clock_timestamp()) * 1000)::text as ms`);
  return new Date(Number(row!.ms));
}

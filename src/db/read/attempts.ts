/** Reads of attempts. Log tails are read apart from the rest: they are large and rarely asked for. */
import { getTableColumns, sql } from 'drizzle-orm';
import type { Reader } from '../database.ts';
import { attempts } from '../tables/index.ts';
import { uuidIn } from './job-filter.ts';
import { groupedBy, inOrderOf } from './rows.ts';

/** An attempt without its texts. */
export type AttemptRow = Omit<typeof attempts.$inferSelect, 'stdoutTail' | 'stderrTail' | 'errorText'>;

/** What an attempt left behind in words. */
export type AttemptTexts = Pick<typeof attempts.$inferSelect, 'id' | 'stdoutTail' | 'stderrTail' | 'errorText'>;

/** An attempt as its job knows it. */
export interface AttemptNumber {
  jobId: string;
  number: number;
}

const { stdoutTail, stderrTail, errorText, ...lightColumns } = getTableColumns(attempts);

/** Attempts by id, in the order asked for, null where there is none. */
export async function attemptsById(reader: Reader, ids: readonly string[]): Promise<(AttemptRow | null)[]> {
  const rows = await reader.select(lightColumns).from(attempts).where(uuidIn(attempts.id, ids));
  return inOrderOf(ids, rows, (row) => row.id);
}

/** All attempts of each job, first to newest. */
export async function attemptsOfJobs(reader: Reader, jobIds: readonly string[]): Promise<AttemptRow[][]> {
  const rows = await reader.select(lightColumns).from(attempts).where(uuidIn(attempts.jobId, jobIds)).orderBy(attempts.jobId, attempts.number);
  return groupedBy(jobIds, rows, (row) => row.jobId);
}

/** Attempts by job and number, in the order asked for, null where there is none. */
export async function attemptsByNumber(reader: Reader, keys: readonly AttemptNumber[]): Promise<(AttemptRow | null)[]> {
  const rows = await reader.select(lightColumns).from(attempts).where(sql`(${attempts.jobId}, ${attempts.number}) in (
    select * from unnest(${sql.param(keys.map((key) => key.jobId))}::uuid[], ${sql.param(keys.map((key) => key.number))}::integer[]))`);
  return inOrderOf(keys.map(numberKey), rows, numberKey);
}

/** The texts of attempts by id, in the order asked for, null where there is none. */
export async function attemptTexts(reader: Reader, ids: readonly string[]): Promise<(AttemptTexts | null)[]> {
  const rows = await reader.select({ id: attempts.id, stdoutTail, stderrTail, errorText }).from(attempts).where(uuidIn(attempts.id, ids));
  return inOrderOf(ids, rows, (row) => row.id);
}

function numberKey({ jobId, number }: AttemptNumber): string {
  return `${jobId}/${number}`;
}

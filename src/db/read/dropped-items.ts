/** What could not be read in the files of jobs. */
import { asc, desc } from 'drizzle-orm';
import type { Reader } from '../database.ts';
import { droppedItems } from '../tables/index.ts';
import { uuidIn } from './job-filter.ts';
import { groupedBy } from './rows.ts';

type DroppedItemsRow = typeof droppedItems.$inferSelect;

/** By reason, the most frequent first, of each job in the order asked for. */
export async function droppedOfJobs(reader: Reader, jobIds: readonly string[]): Promise<DroppedItemsRow[][]> {
  const rows = await reader.select().from(droppedItems).where(uuidIn(droppedItems.jobId, jobIds)).orderBy(desc(droppedItems.count), asc(droppedItems.reason));
  return groupedBy(jobIds, rows, (row) => row.jobId);
}

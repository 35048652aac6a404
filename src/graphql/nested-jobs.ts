/** The jobs of a sweep or an experiment as a connection, read together for all parents on the same level. */
import type { JobRow } from '../db/read/jobs.ts';
import type { NestedJobs } from '../db/read/nested.ts';
import type { PageRequest } from '../db/read/page.ts';
import { toConnection, type Connection } from './connection.ts';
import type { Loaders } from './loaders.ts';

/** A page of them. */
export async function nestedJobs(loaders: Loaders, wanted: NestedJobs, request: PageRequest, parentId: string): Promise<Connection<JobRow>> {
  return toConnection(await loaders.jobPage.load({ wanted, request }, parentId), request, () => loaders.jobCount.load(wanted, parentId));
}

import type { NamedJob } from '../executor.ts';
import type { Transport } from '../transport.ts';
import { queueByNameCommand } from './commands.ts';
import { parseQueue } from './parse.ts';
import { textOf } from './site.ts';

/** The newest job of the name in the user's queue, also when it ended in the last minutes; null where there is none. */
export async function findJobByName(transport: Transport, user: string, name: string): Promise<NamedJob | null> {
  const { rows } = parseQueue(await textOf(transport, queueByNameCommand(user, name)), (jobName) => jobName === name);
  const [newest] = rows.toSorted((a, b) => Number(b.baseId) - Number(a.baseId));
  return newest === undefined ? null : { slurmJobId: newest.baseId, state: newest.state };
}

import type { Reader } from '../db/database.ts';
import { checkpointRequestsById, progressOfRequests } from '../db/read/checkpoint-requests.ts';
import { transact } from '../db/transaction.ts';
import { cancelPendingItems } from '../db/write/checkpoint-requests.ts';
import { appendEvents } from '../db/write/events.ts';
import { UserError } from '../domain/errors.ts';
import type { ActionContext } from './action-context.ts';

/** Withdraws a request from every checkpoint with which no run has begun. Throws UserError NOT_FOUND, and CONFLICT where nothing is left to withdraw. */
export async function cancelCheckpointRequest({ database, tokenName }: Pick<ActionContext, 'database' | 'tokenName'>, id: string): Promise<{ cancelledCount: number }> {
  return transact(database, async (transaction) => {
    const [request] = await checkpointRequestsById(transaction, [id]);
    if (!request) throw UserError.of('NOT_FOUND', `there is no request ${id.slice(0, 100)}`, ['id']);
    const events = await cancelPendingItems(transaction, request.id, `cancelled by ${tokenName}`);
    if (events.length === 0) throw UserError.of('CONFLICT', await whyNothing(transaction, request.id), ['id']);
    await appendEvents(transaction, events);
    return { cancelledCount: events.length };
  });
}

async function whyNothing(reader: Reader, id: string): Promise<string> {
  const [progress] = await progressOfRequests(reader, [id]);
  const counts = Object.entries(progress?.counts ?? {}).filter(([, count]) => count > 0);
  const words = counts.map(([state, count]) => `${count} ${state}`).join(', ');
  const isOver = counts.every(([state]) => state !== 'PENDING' && state !== 'RUNNING');
  return isOver ? `nothing is left to withdraw: the request is over (${words})` : `nothing is left to withdraw: what is not over was begun, and is finished (${words})`;
}

import { checkpointRequestsById } from '../db/read/checkpoint-requests.ts';
import { transact } from '../db/transaction.ts';
import { cancelPendingItems } from '../db/write/checkpoint-requests.ts';
import { appendEvents } from '../db/write/events.ts';
import { UserError } from '../domain/errors.ts';
import type { ActionContext } from './action-context.ts';

/** Withdraws a request from every checkpoint with which no run has begun. Throws UserError NOT_FOUND. */
export async function cancelCheckpointRequest({ database, tokenName }: Pick<ActionContext, 'database' | 'tokenName'>, id: string): Promise<{ cancelledCount: number }> {
  return transact(database, async (transaction) => {
    const [request] = await checkpointRequestsById(transaction, [id]);
    if (!request) throw UserError.of('NOT_FOUND', `there is no request ${id.slice(0, 100)}`, ['id']);
    const events = await cancelPendingItems(transaction, request.id, `cancelled by ${tokenName}`);
    await appendEvents(transaction, events);
    return { cancelledCount: events.length };
  });
}

/** Events to append, and reading a feed up to a condition. */
import type { LoggedEvent, NewEvent } from '../../src/domain/events.ts';

/** An event that says nothing but its number. */
export function note(number: number, experimentId: string): NewEvent {
  return { kind: 'NOTE', experimentId, sweepId: null, jobId: null, attemptNumber: null, payload: { note: { number } } };
}

export function numberOf(event: LoggedEvent): number {
  return event.kind === 'NOTE' ? Number(event.payload.note['number']) : Number.NaN;
}

/** Takes events until the count is reached; the caller's own time limit bounds the wait. */
export async function take(events: AsyncIterator<LoggedEvent>, count: number): Promise<LoggedEvent[]> {
  const taken: LoggedEvent[] = [];
  while (taken.length < count) {
    const { done, value } = await events.next();
    if (done === true) break;
    taken.push(value);
  }
  return taken;
}

/** Event filters and cursors as the feed takes them. */
import { UserError } from '../domain/errors.ts';
import type { EventCondition, LoggedEvent } from '../domain/events.ts';
import type { JobEventFilterInput } from './event.type.ts';

/** Whether an event passes the filter. */
export function eventPredicate(filter: JobEventFilterInput | null | undefined): (event: LoggedEvent) => boolean {
  const passes = (list: string[] | null | undefined): ((value: string | null) => boolean) => {
    if (list === null || list === undefined) return () => true;
    const wanted = new Set(list.map((item) => item.toLowerCase()));
    return (value) => value !== null && wanted.has(value.toLowerCase());
  };
  const kind = passes(filter?.kinds);
  const experiment = passes(filter?.experimentIds);
  const sweep = passes(filter?.sweepIds);
  const job = passes(filter?.jobIds);
  const state = passes(filter?.toStates);
  return (event) => kind(event.kind) && experiment(event.experimentId) && sweep(event.sweepId) && job(event.jobId)
    && state(event.kind === 'JOB_STATE_CHANGED' ? event.payload.to : null);
}

/** What every event that passes the filter meets, as the log can be searched. */
export function eventCondition(filter: JobEventFilterInput | null | undefined): EventCondition {
  const { kinds, experimentIds, sweepIds, jobIds, toStates } = filter ?? {};
  return {
    ...(toStates ? { kinds: ['JOB_STATE_CHANGED'] } : kinds ? { kinds } : {}),
    ...(experimentIds ? { experimentIds } : {}), ...(sweepIds ? { sweepIds } : {}), ...(jobIds ? { jobIds } : {}),
  };
}

/** The sequence number in a cursor; undefined for none. Throws UserError when the text is no cursor. */
export function eventCursor(after: string | null | undefined): number | undefined {
  if (after === null || after === undefined) return undefined;
  if (!/^\d{1,16}$/.test(after) || !Number.isSafeInteger(Number(after))) {
    throw UserError.of('BAD_USER_INPUT', 'this is not a cursor; use one that an event carried, or "0" for the beginning of the log', ['after']);
  }
  return Number(after);
}

import type { SummaryPoint } from './job-filter.ts';

/** What jobs can be put in order by. `CONFIG` and `METRIC` name a key. */
export type JobOrder =
  | { field: 'CREATED_AT' | 'STARTED_AT' | 'FINISHED_AT' | 'PRIORITY' | 'NAME' | 'STATE'; descending: boolean }
  | { field: 'CONFIG'; key: string; descending: boolean }
  | { field: 'METRIC'; key: string; at: SummaryPoint; descending: boolean };

/** What results can be put in order by: `FINISHED_AT` as the result has it, and `RESULT_METRIC`, a final metric by its key. */
export type ResultOrder = JobOrder | { field: 'RESULT_METRIC'; key: string; descending: boolean };

/** The order of a list for which none was asked. */
export const DEFAULT_JOB_ORDER: readonly JobOrder[] = [{ field: 'CREATED_AT', descending: false }];

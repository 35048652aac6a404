/** How many metrics a job may have, whichever way they come in. */

/** A key for every step is a mistake of the code that logs, and each key costs a row and a place in every list. */
export const MAX_SERIES_PER_JOB = 20_000;
/** Why a new metric is not taken, as the job counts it. */
export const OVER_SERIES_LIMIT_REASON = 'a metric beyond the most that a job may have';

/** Which jobs are meant: the filter that queries and bulk mutations share. All given conditions must hold. */
import type { Json } from './job-spec.ts';
import type { JobState } from './states.ts';

/** A condition on one value; all given comparisons must hold. Numbers compare as numbers, strings as strings. */
export interface ConfigCondition {
  /** Dotted path: `optim.lr`. */
  key: string;
  eq?: Json;
  ne?: Json;
  in?: Json[];
  lt?: number;
  lte?: number;
  gt?: number;
  gte?: number;
  exists?: boolean;
}

export type SummaryPoint = 'LAST' | 'MIN' | 'MAX';

/** A condition on a metric's summary value. */
export interface MetricCondition {
  key: string;
  at: SummaryPoint;
  lt?: number;
  lte?: number;
  gt?: number;
  gte?: number;
}

export interface TimeRange {
  from?: Date;
  to?: Date;
}

export interface JobFilter {
  ids?: string[];
  project?: string;
  experimentIds?: string[];
  sweepIds?: string[];
  states?: JobState[];
  clusters?: string[];
  /** Jobs that carry every one of these tags. */
  tagsAll?: string[];
  /** Jobs that carry at least one of these tags. */
  tagsAny?: string[];
  tagsNone?: string[];
  nameContains?: string;
  fingerprint?: string;
  /** SLURM's id of any attempt: `123` or `123_4`. */
  slurmJobId?: string;
  config?: ConfigCondition[];
  metrics?: MetricCondition[];
  priorityMin?: number;
  priorityMax?: number;
  createdAt?: TimeRange;
  startedAt?: TimeRange;
  finishedAt?: TimeRange;
}

/** Lists all of whose entries must hold: an empty one holds for every job, while an empty list of alternatives holds for none. */
const ALL_MUST_HOLD: ReadonlySet<string> = new Set<keyof JobFilter>(['tagsAll', 'tagsNone', 'config', 'metrics']);

/** Whether the filter can leave any job out: an empty text, list of demands or stretch of time means every job. */
export function narrows(filter: JobFilter): boolean {
  return Object.entries(filter).some(([name, value]: [string, unknown]) => {
    if (value === undefined || value === null || value === '') return false;
    if (Array.isArray(value)) return value.length > 0 || !ALL_MUST_HOLD.has(name);
    return typeof value !== 'object' || Object.values(value).some((bound) => bound !== undefined && bound !== null);
  });
}

/** Metric histories of many jobs in one answer. */
import type { SeriesSelection } from '../db/read/metrics.ts';
import { UserError } from '../domain/errors.ts';
import { existing, MAX_POINTS_IN_ALL, type Loaders } from './loaders.ts';
import { needsPicking, seriesViews, type SeriesExtent, type SeriesView } from './metric-series.ts';

/** The histories that are chosen. Throws UserError LIMIT_EXCEEDED, with the numbers, when the answer could grow too large, and BAD_USER_INPUT for a metric that no job has. */
export async function experimentSeries(
  loaders: Loaders, experimentId: string, selection: Omit<SeriesSelection, 'limit' | 'attempt'>, { maxPoints, attempt }: SeriesExtent,
): Promise<SeriesView[]> {
  if (attempt !== null && attempt < 1) throw UserError.of('BAD_USER_INPUT', `must be 1 or more, not ${attempt}: attempts are numbered from 1`, ['attempt']);
  const limit = Math.floor(MAX_POINTS_IN_ALL / maxPoints);
  const rows = await loaders.seriesOfExperiment.load({ ...selection, attempt, limit: limit + 1 }, experimentId);
  if (rows.length > limit) {
    throw UserError.of('LIMIT_EXCEEDED',
      `more than ${limit} series of up to ${maxPoints} points match, over the limit of ${MAX_POINTS_IN_ALL} points in one answer; narrow \`filter\` or \`keys\`, or lower \`maxPoints\``, ['maxPoints']);
  }
  // Of a key that some job has the answer may be empty all the same, as by the filter.
  const found = new Set(rows.map(({ key }) => key));
  const missing = selection.keys.filter((key) => !found.has(key));
  if (missing.length > 0) await loaders.knownMetrics.load({ experimentId, metrics: missing, field: 'keys' });
  const jobs = new Map((await existing(loaders.jobById, [...new Set(rows.map((row) => row.jobId))])).map((job) => [job.id, job]));
  const series = rows.flatMap((row) => {
    const job = jobs.get(row.jobId);
    return job === undefined ? [] : [{ job, row }];
  });
  // Of what is rolled up, hardly any points are left, though they stay counted.
  const picked = series.filter(({ job, row }) => needsPicking(job, attempt) && row.rolledUpBelowStep === null);
  loaders.takePointsToPickFrom(picked.reduce((sum, { row }) => sum + row.pointCount, 0));
  return seriesViews(loaders, series, { maxPoints, attempt });
}

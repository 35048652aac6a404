import { isTimeout } from '../db/errors.ts';
import { experimentIdsOf, projectByName, projectNames } from '../db/read/projects.ts';
import { estimateRollUp, type RollUpEstimate } from '../db/read/roll-ups.ts';
import { transact } from '../db/transaction.ts';
import { appendEvents } from '../db/write/events.ts';
import { setMetricRetention } from '../db/write/projects.ts';
import { UserError } from '../domain/errors.ts';
import { describeMetricRetention, metricRetentionFaults, type MetricRetention } from '../domain/metric-retention.ts';
import { nearestWords } from '../domain/nearest-words.ts';
import type { ActionContext } from './action-context.ts';
import { throwFaults } from './input-faults.ts';

/** More are not looked at for a name that is meant. */
const MAX_NAMES = 1_000;

export interface UpdateProjectInput {
  project: string;
  metricRetention: MetricRetention;
  dryRun: boolean;
}

/**
 * Sets for how long a project keeps every point, unless it is a dry run. Answers what is rolled up soon because of it; null where the project is so large that
 * the database does not count it in time. A change is told in the log of each experiment. Throws UserError NOT_FOUND, BAD_USER_INPUT.
 */
export async function updateProject({ database, tokenName }: Pick<ActionContext, 'database' | 'tokenName'>, { project, metricRetention, dryRun }: UpdateProjectInput): Promise<RollUpEstimate | null> {
  throwFaults(metricRetentionFaults(metricRetention, ['metricRetention']));
  await transact(database, async (transaction) => {
    const known = await projectByName(transaction, project);
    if (known === null) {
      const names = await projectNames(transaction, MAX_NAMES);
      const near = nearestWords(project, names);
      throw UserError.of('NOT_FOUND', `there is no project "${project}"; ${names.length === 0 ? 'there are none yet' : `there are ${(near.length > 0 ? near : names.slice(0, 10)).map((name) => `"${name}"`).join(', ')}`}`, ['project']);
    }
    // What nobody has set yet is no change where it is set to the default.
    if (dryRun || isSame(known.metricRetention, metricRetention) || !await setMetricRetention(transaction, project, metricRetention)) return;
    const payload = { changed: ['metricRetention'], reason: `set by ${tokenName}: ${describeMetricRetention(metricRetention)}` };
    await appendEvents(transaction, (await experimentIdsOf(transaction, project)).map((experimentId) => (
      { kind: 'PROJECT_UPDATED', experimentId, sweepId: null, jobId: null, attemptNumber: null, payload })));
  });
  try {
    return await estimateRollUp(database, project, metricRetention);
  } catch (error) {
    if (isTimeout(error)) return null;
    throw error;
  }
}

function isSame(a: MetricRetention, b: MetricRetention): boolean {
  return a.exactDays === b.exactDays && a.pointsPerSeries === b.pointsPerSeries;
}

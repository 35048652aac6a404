import { transact } from '../db/transaction.ts';
import { appendEvents } from '../db/write/events.ts';
import { insertExperiment } from '../db/write/experiments.ts';
import { UserError } from '../domain/errors.ts';
import type { Objective } from '../domain/job-spec.ts';
import type { ActionContext } from './action-context.ts';
import { descriptionFaults, nameFaults, objectiveFaults, tagFaults, throwFaults } from './input-faults.ts';

export interface CreateExperimentInput {
  project: string;
  name: string;
  description?: string | null;
  tags?: string[] | null;
  objective?: Objective | null;
}

/** Makes an empty experiment. Throws UserError ALREADY_EXISTS on `name` when the project has one of this name. */
export async function createExperiment(
  { database }: Pick<ActionContext, 'database'>, input: CreateExperimentInput,
): Promise<{ experimentId: string; created: boolean }> {
  const { project, name, description = null, objective = null } = input;
  const tags = [...new Set(input.tags ?? [])];
  throwFaults([
    ...nameFaults(project, ['project']), ...nameFaults(name, ['name']), ...descriptionFaults(description, ['description']),
    ...tagFaults(tags, ['tags']), ...objectiveFaults(objective, ['objective']),
  ]);
  return transact(database, async (transaction) => {
    const experimentId = await insertExperiment(transaction, { project, name, description, tags, objective });
    if (experimentId === null) throw UserError.of('ALREADY_EXISTS', `project "${project}" has an experiment "${name}" already`, ['name']);
    await appendEvents(transaction, [{ kind: 'EXPERIMENT_CREATED', experimentId, sweepId: null, jobId: null, attemptNumber: null, payload: {} }]);
    return { experimentId, created: true };
  });
}

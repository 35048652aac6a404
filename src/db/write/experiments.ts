/** Experiments and their sweeps. */
import { and, eq, isNull, sql } from 'drizzle-orm';
import type { JsonObject, Objective } from '../../domain/job-spec.ts';
import type { Transaction } from '../database.ts';
import { newId } from '../ids.ts';
import { experiments, sweeps } from '../tables/index.ts';

export interface NewExperiment {
  project: string;
  name: string;
  description: string | null;
  tags: string[];
  objective: Objective | null;
}

/** Answers the new id, or null when the project has an experiment of this name already. */
export async function insertExperiment(transaction: Transaction, experiment: NewExperiment): Promise<string | null> {
  const { objective, ...rest } = experiment;
  const inserted = await transaction.insert(experiments)
    .values({ id: newId(), ...rest, objectiveMetric: objective?.metric ?? null, objectiveGoal: objective?.goal ?? null })
    .onConflictDoNothing({ target: [experiments.project, experiments.name] })
    .returning({ id: experiments.id });
  return inserted[0]?.id ?? null;
}

/** The id of the experiment and the objective it had; an objective is set on one that has none. Throws when there is no such experiment. */
export async function joinExperiment(transaction: Transaction, project: string, name: string, objective: Objective | null): Promise<{ experimentId: string; had: Objective | null }> {
  const [found] = await transaction.select({ id: experiments.id, metric: experiments.objectiveMetric, goal: experiments.objectiveGoal }).from(experiments)
    .where(and(eq(experiments.project, project), eq(experiments.name, name)));
  if (found === undefined) throw new Error('an experiment that was there a moment ago is gone');
  if (objective !== null) {
    await transaction.update(experiments).set({ objectiveMetric: objective.metric, objectiveGoal: objective.goal })
      .where(and(eq(experiments.id, found.id), isNull(experiments.objectiveMetric)));
  }
  const { id, metric, goal } = found;
  return { experimentId: id, had: metric === null || goal === null ? null : { metric, goal } };
}

export interface NewSweep {
  experimentId: string;
  name: string;
  space: JsonObject;
  strategy: string;
}

/** Answers the new id. The sweep has no jobs until `setSweepJobCount` says so. */
export async function insertSweep(transaction: Transaction, sweep: NewSweep): Promise<string> {
  const id = newId();
  await transaction.insert(sweeps).values({ id, ...sweep, jobCount: 0 });
  return id;
}

export async function setSweepJobCount(transaction: Transaction, sweepId: string, jobCount: number): Promise<void> {
  await transaction.update(sweeps).set({ jobCount }).where(eq(sweeps.id, sweepId));
}

/** Takes back a sweep that came to no jobs. */
export async function deleteEmptySweep(transaction: Transaction, sweepId: string): Promise<void> {
  await transaction.execute(sql`delete from sweeps where id = ${sweepId}`);
}

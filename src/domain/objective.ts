/** What "best" means: as it was asked for, else as the experiment says. One rule for leaderboards, results, exports, checkpoints and archives. */
import { UserError } from './errors.ts';
import type { Goal, Objective } from './job-spec.ts';

/** What best means, as asked; what was left out is null or absent. */
export interface AskedObjective {
  metric?: string | null;
  goal?: Goal | null;
}

/**
 * The metric that counts and which way it is better; null when nobody said. A metric alone has a goal only if it is that of the experiment's
 * objective, and a goal alone says nothing new: anything else could turn best into worst. Throws UserError BAD_USER_INPUT.
 * @param field where both stand in the input
 */
export function chosenObjective({ metric, goal }: AskedObjective, own: Objective | null, field: string[] = []): Objective | null {
  if (metric && goal) return { metric, goal };
  if (!metric && !goal) return own;
  const ownWords = own === null ? 'the experiment has no objective' : `the objective of the experiment is ${own.goal} of "${own.metric}"`;
  if (metric) {
    if (own?.metric === metric) return own;
    throw UserError.of('BAD_USER_INPUT', `goes with a goal: pass both \`metric\` and \`goal\`, because ${ownWords}`, [...field, 'metric']);
  }
  if (own?.goal === goal) return own;
  throw UserError.of('BAD_USER_INPUT', `goes with a metric: pass both \`metric\` and \`goal\`, because ${ownWords}`, [...field, 'goal']);
}

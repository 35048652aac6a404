import { JOB_STATES } from '../domain/states.ts';
import { changeJobs, type ChangeContext, type JobChangeAnswer, type JobSelection } from './change-jobs.ts';
import { badInput, MAX_TAGS, tagFaults, throwFaults } from './input-faults.ts';

export interface TagJobsInput extends JobSelection {
  add?: string[] | null;
  remove?: string[] | null;
}

/** Adds and removes tags, of jobs in any state. Throws as `changeJobs`. */
export async function tagJobs(context: ChangeContext, input: TagJobsInput): Promise<JobChangeAnswer> {
  const add = [...new Set(input.add ?? [])];
  const remove = [...new Set(input.remove ?? [])];
  const both = add.filter((tag) => remove.includes(tag));
  throwFaults([
    ...tagFaults(add, ['add']), ...tagFaults(remove, ['remove']),
    ...(add.length + remove.length > 0 ? [] : [badInput([], 'name at least one tag to add or remove')]),
    ...(both.length === 0 ? [] : [badInput(['remove'], `${both.join(', ')} cannot be both added and removed`)]),
  ]);
  return changeJobs(context, input, {
    states: JOB_STATES,
    decide(job) {
      const before = new Set(job.tags);
      const after = new Set([...job.tags, ...add].filter((tag) => !remove.includes(tag)));
      if (after.size > MAX_TAGS) return `would have more than ${MAX_TAGS} tags`;
      const same = after.size === before.size && [...after].every((tag) => before.has(tag));
      return same ? unchangedWords(add, remove) : { kind: 'CHANGE_TAGS', add, remove };
    },
  });
}

function unchangedWords(add: readonly string[], remove: readonly string[]): string {
  if (remove.length === 0) return add.length === 1 ? 'has this tag already' : 'has these tags already';
  if (add.length === 0) return remove.length === 1 ? 'does not have this tag' : 'has none of these tags';
  return 'has the tags to add already, and none of those to remove';
}

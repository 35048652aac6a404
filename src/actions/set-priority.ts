import { priorityProblem } from '../domain/priority-rule.ts';
import { changeJobs, type ChangeContext, type JobChangeAnswer, type JobSelection } from './change-jobs.ts';
import { badInput, throwFaults } from './input-faults.ts';

/** Changes where jobs stand in our queue; what a cluster has already is ordered by its own scheduler. Throws as `changeJobs`. */
export async function setPriority(
  context: ChangeContext, input: JobSelection & { priority: number },
): Promise<JobChangeAnswer> {
  const { priority } = input;
  const problem = priorityProblem(priority);
  throwFaults(problem === null ? [] : [badInput(['priority'], problem)]);
  return changeJobs(context, input, {
    states: ['HELD', 'QUEUED'],
    decide(job) {
      switch (job.state) {
        case 'HELD':
        case 'QUEUED': return job.priority === priority ? `has priority ${priority} already` : { kind: 'SET_PRIORITY', priority };
        case 'SUBMITTING':
        case 'PENDING':
        case 'RUNNING': return `is with the cluster already (${job.state}), whose own scheduler orders it`;
        case 'COMPLETED':
        case 'FAILED':
        case 'CANCELLED':
        case 'LOST': return `has ended: ${job.state}`;
      }
    },
  });
}

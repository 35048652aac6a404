import { changeJobs, type ChangeContext, type JobChangeAnswer, type JobSelection } from './change-jobs.ts';

/** Keeps jobs from starting, in our queue or as a wish in the cluster's. Throws as `changeJobs`. */
export async function holdJobs(context: ChangeContext, selection: JobSelection): Promise<JobChangeAnswer> {
  return changeJobs(context, selection, {
    states: ['QUEUED', 'SUBMITTING', 'PENDING'],
    decide(job) {
      switch (job.state) {
        case 'QUEUED': return { kind: 'HOLD_QUEUED' };
        case 'SUBMITTING':
        case 'PENDING': return job.holdRequested ? 'was asked to be held before' : { kind: 'REQUEST_HOLD' };
        case 'HELD': return 'is held already';
        case 'RUNNING': return 'is running; only waiting jobs can be held';
        case 'COMPLETED':
        case 'FAILED':
        case 'CANCELLED':
        case 'LOST': return `has ended: ${job.state}`;
      }
    },
  });
}

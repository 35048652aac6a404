import { changeJobs, type ChangeContext, type JobChangeAnswer, type JobSelection } from './change-jobs.ts';

/** Ends jobs: at once where no cluster has them, else as a wish that is carried out on the cluster. Throws as `changeJobs`. */
export async function cancelJobs(context: ChangeContext, selection: JobSelection): Promise<JobChangeAnswer> {
  return changeJobs(context, selection, {
    states: ['HELD', 'QUEUED', 'SUBMITTING', 'PENDING', 'RUNNING'],
    decide(job) {
      switch (job.state) {
        case 'HELD':
        case 'QUEUED': return { kind: 'CANCEL_QUEUED' };
        case 'SUBMITTING':
        case 'PENDING':
        case 'RUNNING': return job.cancelRequested ? 'was asked to end before' : { kind: 'REQUEST_CANCEL' };
        case 'COMPLETED':
        case 'FAILED':
        case 'CANCELLED':
        case 'LOST': return `has ended: ${job.state}`;
      }
    },
  });
}

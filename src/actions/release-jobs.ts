import { changeJobs, type ChangeContext, type JobChangeAnswer, type JobSelection } from './change-jobs.ts';

/** Lets held jobs start. Throws as `changeJobs`. */
export async function releaseJobs(context: ChangeContext, selection: JobSelection): Promise<JobChangeAnswer> {
  return changeJobs(context, selection, {
    states: ['HELD', 'SUBMITTING', 'PENDING'],
    decide(job) {
      if (job.state === 'HELD') return { kind: 'RELEASE_HELD' };
      const waiting = job.state === 'SUBMITTING' || job.state === 'PENDING';
      return waiting && job.holdRequested ? { kind: 'REQUEST_RELEASE' } : `is not held: ${job.state}`;
    },
  });
}

/** Reads what sacctmgr says of the limits of a user. Pure. */
import type { AccountingLimits } from '../../domain/submit-limits.ts';

/** An empty field, and -1 in some versions, is no limit. */
function limitOf(text: string | undefined): number | null {
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : null;
}

function rowsOf(text: string): string[][] {
  return text.split('\n').filter((line) => line.includes('|')).map((line) => line.split('|'));
}

/**
 * @param associations the answer to `associationsCommand`, with a row for each account and partition of each cluster that shares the accounting
 * @param clusterName SLURM's own name of the cluster; null takes the rows of all
 * @param qos the answer to QOS_COMMAND
 */
export function parseLimits(associations: string, qos: string, clusterName: string | null): AccountingLimits {
  return {
    associations: rowsOf(associations)
      .filter(([, cluster]) => clusterName === null || cluster === clusterName)
      .map(([defaultAccount = '', , account = '', partition = '', maxJobs, maxSubmitJobs, grpSubmitJobs, defaultQos = '']) => ({
        account, partition: partition || null, isDefaultAccount: account === defaultAccount, defaultQos: defaultQos || null,
        maxJobs: limitOf(maxJobs), maxSubmitJobs: limitOf(maxSubmitJobs), grpSubmitJobs: limitOf(grpSubmitJobs),
      })),
    qos: rowsOf(qos).map(([name = '', maxJobsPerUser, maxSubmitJobsPerUser, maxSubmitJobsPerAccount, grpSubmitJobs]) => ({
      name, maxJobsPerUser: limitOf(maxJobsPerUser), maxSubmitJobsPerUser: limitOf(maxSubmitJobsPerUser),
      maxSubmitJobsPerAccount: limitOf(maxSubmitJobsPerAccount), grpSubmitJobs: limitOf(grpSubmitJobs),
    })),
  };
}

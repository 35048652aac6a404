/** How many jobs a site takes from a user at once, as its accounting says, and how many of them are there. */
import type { LaneCount, SubmitLane } from './submit-lane.ts';

/** What accounting says of a user in one account. Null: no limit. */
export interface AssociationLimits {
  account: string;
  /** Null: for all partitions that have no line of their own. */
  partition: string | null;
  /** Whether jobs that name no account go here. */
  isDefaultAccount: boolean;
  /** For jobs that name none; null where it is not known. */
  defaultQos: string | null;
  maxJobs: number | null;
  maxSubmitJobs: number | null;
  grpSubmitJobs: number | null;
}

export interface QosLimits {
  name: string;
  maxJobsPerUser: number | null;
  maxSubmitJobsPerUser: number | null;
  maxSubmitJobsPerAccount: number | null;
  grpSubmitJobs: number | null;
}

export interface AccountingLimits {
  associations: AssociationLimits[];
  qos: QosLimits[];
}

/** A bound on the jobs of this user that may be there at once; the names say which jobs count, null for whatever they ask for. */
export interface SubmitLimit extends SubmitLane {
  most: number;
  /** What it is, in words that follow "the cluster takes at most 100 submitted jobs of yours". */
  source: string;
}

/**
 * As many jobs again as may run wait in the cluster's queue, so that none of the places stays empty; the rest waits in ours, where
 * priorities count.
 */
const HANDED_OVER_PER_RUNNING = 2;

/** The limits on jobs of a lane. In SLURM a limit of the QOS takes the place of the same limit of the account. */
export function limitsOn(lane: SubmitLane, { associations, qos }: AccountingLimits): SubmitLimit[] {
  const account = lane.account ?? associations.find((each) => each.isDefaultAccount)?.account ?? null;
  const own = associations.filter((each) => each.account === account && (each.partition === null || partitionsOf(lane).includes(each.partition)));
  const association = own.find((each) => each.partition !== null) ?? own[0];
  const qosName = lane.qos ?? association?.defaultQos ?? null;
  const rule = qos.find((each) => each.name === qosName);
  const limits: SubmitLimit[] = [];
  const add = (most: number | null | undefined, source: string, scope: Partial<SubmitLane>): void => {
    if (most !== null && most !== undefined) limits.push({ most, source, partition: null, account: null, qos: null, ...scope });
  };
  const ofQos = { qos: qosName };
  const inQos = `of QOS ${qosName}`;
  add(rule?.maxSubmitJobsPerUser, `MaxSubmitJobsPerUser ${inQos}`, ofQos);
  add(rule?.maxSubmitJobsPerAccount, `MaxSubmitJobsPerAccount ${inQos}`, { ...ofQos, account });
  add(rule?.grpSubmitJobs, `GrpSubmitJobs ${inQos}, which others share`, ofQos);
  add(handedOver(rule?.maxJobsPerUser), `${runningAtOnce(rule?.maxJobsPerUser)}, MaxJobsPerUser ${inQos}`, ofQos);
  if (association === undefined) return limits;
  const ofAccount = { account, partition: association.partition };
  const inAccount = `of account ${account}${association.partition === null ? '' : ` in partition ${association.partition}`}`;
  const isReplaced = { submit: rule?.maxSubmitJobsPerUser ?? rule?.maxSubmitJobsPerAccount ?? null, group: rule?.grpSubmitJobs ?? null, running: rule?.maxJobsPerUser ?? null };
  if (isReplaced.submit === null) add(association.maxSubmitJobs, `MaxSubmitJobs ${inAccount}`, ofAccount);
  if (isReplaced.group === null) add(association.grpSubmitJobs, `GrpSubmitJobs ${inAccount}`, ofAccount);
  if (isReplaced.running === null) add(handedOver(association.maxJobs), `${runningAtOnce(association.maxJobs)}, MaxJobs ${inAccount}`, ofAccount);
  return limits;
}

function handedOver(running: number | null | undefined): number | null {
  return running === null || running === undefined ? null : running * HANDED_OVER_PER_RUNNING;
}

function runningAtOnce(running: number | null | undefined): string {
  return `twice what may run at once: ${running}`;
}

function partitionsOf({ partition }: SubmitLane): string[] {
  return partition?.split(',') ?? [];
}

/** How many of the counted jobs a limit counts. Where it is not known what a job asked for, it counts. */
export function countUnder({ partition, account, qos }: SubmitLane, counts: readonly LaneCount[]): number {
  const isMeant = (wanted: string | null, has: string | null): boolean => wanted === null || has === null || has === wanted;
  return counts
    .filter((each) => isMeant(account, each.account) && isMeant(qos, each.qos) && (isMeant(partition, each.partition) || partitionsOf(each).includes(partition ?? '')))
    .reduce((sum, { count }) => sum + count, 0);
}

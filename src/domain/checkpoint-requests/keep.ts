/** Which checkpoints an archive or a clean-up leaves alone, and why. */
import type { CheckpointState } from '../checkpoint-scan.ts';
import { isTerminalJobState, type JobState } from '../states.ts';
import { isArchiveName } from './archive-name.ts';
import { LOGIN_NODE_CHECKPOINT_BYTES, statesForAction, type CheckpointAction, type CheckpointPlace } from './request.ts';

export const KEEP_RULES = ['BEST_AND_LAST', 'EVERY_N', 'NONE'] as const;
/** BEST_AND_LAST: of each job the best and the last. EVERY_N: those, and the first of each N steps. NONE: no one for its own sake. */
export type KeepRule = (typeof KEEP_RULES)[number];

export interface Keep {
  rule: KeepRule;
  /** For EVERY_N. */
  everyNSteps: number | null;
}

export const KEPT_REASONS = [
  'BEST', 'BEST_UNKNOWN', 'LAST', 'EVERY_N', 'STEP_UNKNOWN', 'RESUMABLE', 'ARCHIVED', 'JOB_NOT_ENDED', 'STATE', 'OUTSIDE', 'SHARED', 'TOO_LARGE', 'ASKED_BEFORE', 'CLUSTER_NOT_CONFIGURED',
] as const;
/** Why a checkpoint is left alone. */
export type KeptReason = (typeof KEPT_REASONS)[number];

/** A checkpoint with all that counts for the decision. */
export interface CandidateCheckpoint {
  id: string;
  jobId: string;
  path: string;
  state: CheckpointState;
  step: number | null;
  sizeBytes: number;
  /** Null of one that is not archived. */
  archivePath: string | null;
  archiveBytes: number | null;
  fileCount: number;
  writtenAt: Date;
  aliases: readonly string[];
  /** Another job has said that it is a checkpoint of its own. */
  isSharedWithJob: boolean;
  /** There is a request about it that is not done yet. */
  isAsked: boolean;
}

/** A job with its checkpoints that are on disk. */
export interface CandidateJob {
  jobId: string;
  state: JobState;
  jobDirectory: string;
  isClusterConfigured: boolean;
  checkpoints: readonly CandidateCheckpoint[];
  /** Of all its checkpoints that are on disk, also of those that nobody asks about and of archived ones. */
  occupiedPaths: readonly string[];
  /** Where archives of its checkpoints lie, also those of what lay at their paths before. */
  archivePaths: readonly string[];
  /** Whether somebody said what best means. */
  hasObjective: boolean;
  bestId: string | null;
  lastId: string | null;
}

export interface Asked {
  action: CheckpointAction;
  place: CheckpointPlace;
  /** Null: the checkpoints were named one by one, and none is kept for its own sake. */
  keep: Keep | null;
  /** Take also the checkpoint that a job which did not complete would go on from. */
  includeResumable: boolean;
  /** Take also those of jobs of which nobody knows whether they have ended. */
  includeLost: boolean;
  /** Delete also the archives of those that are archived. */
  includeArchived: boolean;
  /** By id; null: all. */
  only: ReadonlySet<string> | null;
}

export interface Kept {
  checkpoint: CandidateCheckpoint;
  reason: KeptReason;
  /** The same in words. */
  message: string;
}

/** What of a job is taken, and what is left alone. */
export function decideOnJob(job: CandidateJob, asked: Asked): { taken: CandidateCheckpoint[]; kept: Kept[] } {
  const meant = job.checkpoints.filter(({ id }) => asked.only?.has(id) ?? true);
  const protectedIds = asked.keep === null ? new Map<string, KeptReason>() : keptByRule(job, asked.keep);
  const resumable = resumableOf(job, asked.action);
  const taken: CandidateCheckpoint[] = [];
  const kept: Kept[] = [];
  for (const checkpoint of meant) {
    const reason = standingReason(job, checkpoint, asked) ?? removalReason(checkpoint);
    if (reason === null) taken.push(checkpoint);
    else kept.push({ checkpoint, reason, message: wordsFor(reason, job, checkpoint, asked) });
  }
  return { taken, kept };

  function removalReason({ id, state }: CandidateCheckpoint): KeptReason | null {
    if (!removes(asked.action)) return null;
    // Somebody kept it on purpose.
    if (state === 'ARCHIVED' && !asked.includeArchived) return 'ARCHIVED';
    if (resumable.includes(id) && !asked.includeResumable) return 'RESUMABLE';
    return protectedIds.get(id) ?? null;
  }
}

function removes(action: CheckpointAction): boolean {
  return action === 'ARCHIVE' || action === 'DELETE';
}

/** What no rule of the caller's can overrule. */
function standingReason(job: CandidateJob, checkpoint: CandidateCheckpoint, { action, place, includeLost }: Asked): KeptReason | null {
  if (!job.isClusterConfigured) return 'CLUSTER_NOT_CONFIGURED';
  // Of a lost job nobody knows that it has ended: it may still run, and write.
  if (removes(action) && (!isTerminalJobState(job.state) || (job.state === 'LOST' && !includeLost))) return 'JOB_NOT_ENDED';
  if (!statesForAction(action).includes(checkpoint.state)) return 'STATE';
  if (!checkpoint.path.startsWith(`${job.jobDirectory}/`) || checkpoint.path.split('/').some((part) => part === '..' || part === '.')) return 'OUTSIDE';
  const overlaps = (path: string): boolean => path.startsWith(`${checkpoint.path}/`) || checkpoint.path.startsWith(`${path}/`);
  if (removes(action) && (checkpoint.isSharedWithJob || job.occupiedPaths.some(overlaps) || isOrMeetsArchive(job, checkpoint, action))) return 'SHARED';
  if (checkpoint.isAsked) return 'ASKED_BEFORE';
  return place === 'LOGIN_NODE' && action !== 'DELETE' && checkpoint.sizeBytes > LOGIN_NODE_CHECKPOINT_BYTES ? 'TOO_LARGE' : null;
}

/** Whether it lies where the archive of another one does, or another one where its own archive would: two that are one file would be removed together. */
function isOrMeetsArchive({ archivePaths, occupiedPaths }: CandidateJob, { path, archivePath }: CandidateCheckpoint, action: CheckpointAction): boolean {
  return archivePaths.includes(path) || occupiedPaths.some((each) => (action === 'ARCHIVE' ? isArchiveName(path, each) : each === archivePath));
}

function keptByRule(job: CandidateJob, { rule, everyNSteps }: Keep): Map<string, KeptReason> {
  const reasons = new Map<string, KeptReason>();
  if (rule === 'NONE') return reasons;
  const whole = job.checkpoints.filter(({ state }) => state === 'COMPLETE' || state === 'ARCHIVED');
  if (job.hasObjective && job.bestId === null) for (const { id } of whole) reasons.set(id, 'BEST_UNKNOWN');
  if (rule === 'EVERY_N') for (const [id, reason] of spaced(whole, everyNSteps ?? 1)) reasons.set(id, reason);
  for (const { id, aliases } of whole) {
    if (id === job.lastId || aliases.includes('last') || aliases.includes('latest')) reasons.set(id, 'LAST');
    if (id === job.bestId || aliases.includes('best')) reasons.set(id, 'BEST');
  }
  return reasons;
}

/** The first of each N steps; those whose step is not known cannot be placed. */
function spaced(checkpoints: readonly CandidateCheckpoint[], everyNSteps: number): [string, KeptReason][] {
  const first = new Map<number, CandidateCheckpoint>();
  for (const checkpoint of checkpoints) {
    if (checkpoint.step === null) continue;
    const place = Math.floor(checkpoint.step / everyNSteps);
    const before = first.get(place);
    if (before === undefined || checkpoint.step < (before.step ?? 0)) first.set(place, checkpoint);
  }
  return [
    ...[...first.values()].map(({ id }): [string, KeptReason] => [id, 'EVERY_N']),
    ...checkpoints.filter(({ step }) => step === null).map(({ id }): [string, KeptReason] => [id, 'STEP_UNKNOWN']),
  ];
}

/** What a new attempt would go on from: the same as the dispatch chooses, and what it would choose once that were restored. */
function resumableOf({ state, checkpoints }: CandidateJob, action: CheckpointAction): string[] {
  if (state === 'COMPLETED') return [];
  const sorted = checkpoints.toSorted((a, b) => (b.step ?? -1) - (a.step ?? -1) || b.writtenAt.getTime() - a.writtenAt.getTime());
  const newest = sorted.find((checkpoint) => checkpoint.state === 'COMPLETE');
  const newestWhole = action === 'DELETE' ? sorted.find((checkpoint) => checkpoint.state === 'COMPLETE' || checkpoint.state === 'ARCHIVED') : undefined;
  return [newest, newestWhole].flatMap((checkpoint) => checkpoint?.id ?? []);
}

function wordsFor(reason: KeptReason, job: CandidateJob, checkpoint: CandidateCheckpoint, { action, keep }: Asked): string {
  switch (reason) {
    case 'BEST': return 'it is the best of its job';
    case 'BEST_UNKNOWN': return 'its job has no value of the metric at any checkpoint, so nobody can say which one is best';
    case 'LAST': return 'it is the last of its job';
    case 'EVERY_N': return `it is the first of its ${keep?.everyNSteps ?? 1} steps`;
    case 'STEP_UNKNOWN': return 'its step is not known';
    case 'RESUMABLE': return `its job is ${job.state}, and would go on from it if it were tried again (includeResumable takes it, too)`;
    case 'ARCHIVED': return 'it is archived (includeArchived deletes its archive, too)';
    case 'JOB_NOT_ENDED': return job.state === 'LOST'
      ? 'its job is LOST: nobody knows whether it still runs. Look for it on the cluster (squeue); if it does not run there, say includeLost' : `its job has not ended: ${job.state}`;
    case 'STATE': return `it is ${checkpoint.state}; ${action} takes those that are ${statesForAction(action).join(' or ')}`;
    case 'OUTSIDE': return 'it does not lie in the directory of its job';
    case 'SHARED':
      if (checkpoint.isSharedWithJob) return 'another job has it among its checkpoints, too';
      return isOrMeetsArchive(job, checkpoint, action) ? 'it lies where the archive of another checkpoint does, or another checkpoint where its archive would' : 'it holds another checkpoint, or lies in one';
    case 'TOO_LARGE': return `it is larger than the ${LOGIN_NODE_CHECKPOINT_BYTES / 1024 ** 3} GiB that are worked on on a login node; ask for a SLURM_JOB`;
    case 'ASKED_BEFORE': return 'an earlier request about it is still to be carried out';
    case 'CLUSTER_NOT_CONFIGURED': return 'its cluster is not in the configuration of this server';
  }
}

import { bestCheckpoints } from '../db/read/best-checkpoints.ts';
import { readRequestedCheckpoints, readRequestedJobs, type CheckpointSelection, type RequestedCheckpoint, type RequestedJob } from '../db/read/checkpoint-requests.ts';
import { checkpointsById, lastCheckpoints } from '../db/read/checkpoints.ts';
import type { Reader } from '../db/database.ts';
import { transact } from '../db/transaction.ts';
import { recordCheckpointRequest } from '../db/write/checkpoint-requests.ts';
import { appendEvents } from '../db/write/events.ts';
import { decideOnJob, KEEP_RULES, type Asked, type CandidateCheckpoint, type CandidateJob, type Keep, type KeepRule, type Kept, type KeptReason } from '../domain/checkpoint-requests/keep.ts';
import { MAX_CHECKPOINTS_PER_REQUEST, type CheckpointAction, type CheckpointPlace } from '../domain/checkpoint-requests/request.ts';
import { UserError } from '../domain/errors.ts';
import type { NewEvent } from '../domain/events.ts';
import { narrows, type JobFilter } from '../domain/job-filter.ts';
import type { Objective, Resources } from '../domain/job-spec.ts';
import { chosenObjective } from '../domain/objective.ts';
import { mergeResources, validateResources, type RequestedResources } from '../domain/resources.ts';
import type { ActionContext } from './action-context.ts';
import { MAX_JOBS_PER_CHANGE } from './change-jobs.ts';
import { unknownTargets } from './filter-faults.ts';
import { badInput, throwFaults } from './input-faults.ts';
import { refuseUnknownMetrics } from './unknown-names.ts';

/** So many are named in an answer. */
const MAX_NAMED = 1_000;
/** Jobs whose checkpoints are read in one statement. */
const JOBS_AT_A_TIME = 1_000;

/** Exactly one of `ids` and `filter`. */
export interface CheckpointRequestInput {
  action: CheckpointAction;
  /** Of checkpoints: those are meant whatever the rules of `keep`. */
  ids?: string[] | null;
  filter?: JobFilter | null;
  /** Needed to archive or delete by filter. */
  keep?: { rule: KeepRule; everyNSteps?: number | null; metric?: string | null; goal?: Objective['goal'] | null } | null;
  /** Also the checkpoint that a job which did not complete would go on from. */
  includeResumable?: boolean | null;
  /** Also the checkpoints of jobs that are LOST. */
  includeLost?: boolean | null;
  /** With a filter, to delete: also the archives of those that are archived. */
  includeArchived?: boolean | null;
  place?: CheckpointPlace | null;
  /** Of the SLURM job. */
  resources?: RequestedResources | null;
  /** True: answers what would be done and records nothing. */
  dryRun?: boolean | null;
}

export interface CheckpointRequestAnswer {
  /** Null when nothing was recorded: a dry run, or nothing is to be done. */
  requestId: string | null;
  takenCount: number;
  /** By so many bytes there will be less, apart from the archives that are yet to be made; negative where archives are to be unpacked. */
  bytesToFree: number;
  /** At most 1,000. */
  takenIds: string[];
  kept: { checkpointId: string; reason: KeptReason; message: string }[];
  keptCounts: { reason: KeptReason; count: number; bytes: number }[];
}

type Context = Pick<ActionContext, 'database' | 'clusters' | 'tokenName'>;

/**
 * Records what is to be done about checkpoints; the reconcilers of their clusters carry it out. Throws UserError: NOT_FOUND for unknown ids and for what
 * a filter names and is not there, LIMIT_EXCEEDED for more than 25,000 jobs or 20,000 checkpoints, BAD_USER_INPUT for a selection that is none.
 */
export async function requestCheckpoints(context: Context, input: CheckpointRequestInput): Promise<CheckpointRequestAnswer> {
  const selection = await selectionOf(context, input);
  throwFaults(inputFaults(input));
  const place = input.place ?? 'LOGIN_NODE';
  return transact(context.database, async (transaction) => {
    const jobs = await readRequestedJobs(transaction, selection, MAX_JOBS_PER_CHANGE + 1);
    if (jobs.length > MAX_JOBS_PER_CHANGE) throw UserError.of('LIMIT_EXCEEDED', `selects more than ${MAX_JOBS_PER_CHANGE} jobs, the limit; do it in parts`, ['filter']);
    if ('ids' in selection) await refuseUnknown(transaction, selection.ids);
    if (place === 'SLURM_JOB') refuseWithoutSlurm(context, jobs, input.resources ?? {});
    const asked: Asked = {
      action: input.action, place, keep: keepOf(input), includeResumable: input.includeResumable ?? false, includeLost: input.includeLost ?? false,
      includeArchived: 'ids' in selection || (input.includeArchived ?? false), only: 'ids' in selection ? new Set(selection.ids) : null,
    };
    const decided = await decide(transaction, context, jobs, asked, input.keep ?? null);
    if (decided.taken.length > MAX_CHECKPOINTS_PER_REQUEST) {
      throw UserError.of('LIMIT_EXCEEDED', `means ${decided.taken.length} checkpoints; the limit is ${MAX_CHECKPOINTS_PER_REQUEST} at once, so do it in parts`, ['filter']);
    }
    const answer = answerOf(decided, input.action);
    if (input.dryRun === true || decided.taken.length === 0) return answer;
    const requestId = await recordCheckpointRequest(transaction, {
      action: input.action, place, resources: stated(input.resources ?? {}), requestedBy: context.tokenName,
      checkpoints: decided.taken.map(({ checkpoint: { id, jobId, sizeBytes, fileCount, writtenAt }, job }) => ({ id, jobId, cluster: job.cluster, sizeBytes, fileCount, writtenAt })),
    });
    await appendEvents(transaction, askedEvents(requestId, input.action, decided.taken));
    return { ...answer, requestId };
  });
}

interface Decided {
  taken: { job: RequestedJob; checkpoint: CandidateCheckpoint }[];
  kept: Kept[];
}

/** Throws UserError where best is to be by a metric that no job has. */
async function decide(reader: Reader, { clusters }: Context, jobs: RequestedJob[], asked: Asked, best: CheckpointRequestInput['keep'] | null): Promise<Decided> {
  const decided: Decided = { taken: [], kept: [] };
  const hasFavourites = asked.keep !== null && asked.keep.rule !== 'NONE';
  let isBestKnown = false;
  for (let start = 0; start < jobs.length; start += JOBS_AT_A_TIME) {
    const some = jobs.slice(start, start + JOBS_AT_A_TIME);
    const checkpoints = await readRequestedCheckpoints(reader, some.map(({ jobId }) => jobId));
    const favourites = hasFavourites ? await favouritesOf(reader, some, best ?? null) : null;
    isBestKnown ||= [...favourites?.values() ?? []].some(({ bestId }) => bestId !== null);
    for (const [index, job] of some.entries()) {
      const { taken, kept } = decideOnJob(candidateOf(job, checkpoints[index] ?? [], asked, favourites?.get(job.jobId) ?? null, clusters.has(job.cluster)), asked);
      decided.taken.push(...taken.map((checkpoint) => ({ job, checkpoint })));
      decided.kept.push(...kept);
    }
  }
  if (hasFavourites && best?.metric && !isBestKnown) {
    await refuseUnknownMetrics(reader, [...new Set(jobs.map(({ experimentId }) => experimentId))], [best.metric], ['keep', 'metric']);
  }
  return decided;
}

interface Favourites {
  bestId: string | null;
  lastId: string | null;
}

function candidateOf(job: RequestedJob, checkpoints: RequestedCheckpoint[], { action, only }: Asked, favourites: Favourites | null, isClusterConfigured: boolean): CandidateJob {
  // Of those that are named all are answered; of a filter's only those that are there to be decided about.
  const isThere = ({ state, contentDigest }: RequestedCheckpoint): boolean => {
    if (only !== null) return true;
    if (action === 'RESTORE') return state === 'ARCHIVED';
    return state !== 'DELETED' && (state !== 'ARCHIVED' || action === 'DELETE') && !(action === 'DIGEST' && contentDigest !== null);
  };
  return {
    ...job, isClusterConfigured, checkpoints: checkpoints.filter(isThere), occupiedPaths: checkpoints.filter(({ state }) => state !== 'DELETED').map(({ path }) => path),
    archivePaths: checkpoints.flatMap(({ archivePath, earlierArchives }) => [...archivePath === null ? [] : [archivePath], ...earlierArchives.map(({ path }) => path)]), hasObjective: favourites !== null, bestId: favourites?.bestId ?? null, lastId: favourites?.lastId ?? null,
  };
}

/** The best and the last of each job. Throws UserError where nothing says what best means. */
async function favouritesOf(reader: Reader, jobs: RequestedJob[], asked: CheckpointRequestInput['keep'] | null): Promise<Map<string, Favourites>> {
  const queries = jobs.map(({ jobId, objective }) => {
    const chosen = chosenObjective(asked ?? {}, objective, ['keep']);
    if (chosen === null) {
      throw UserError.of('BAD_USER_INPUT', 'nothing says what best means: give both `metric` and `goal`, or give the experiment an objective, or keep with the rule NONE', ['keep', 'metric']);
    }
    return { jobId, ...chosen };
  });
  const best = await bestCheckpoints(reader, queries);
  const last = await lastCheckpoints(reader, jobs.map(({ jobId }) => jobId));
  return new Map(jobs.map(({ jobId }, index) => [jobId, { bestId: best[index]?.id ?? null, lastId: last[index]?.id ?? null }]));
}

function answerOf({ taken, kept }: Decided, action: CheckpointAction): CheckpointRequestAnswer {
  const counts = new Map<KeptReason, { reason: KeptReason; count: number; bytes: number }>();
  for (const { reason, checkpoint } of kept) {
    const count = counts.get(reason) ?? { reason, count: 0, bytes: 0 };
    counts.set(reason, { reason, count: count.count + 1, bytes: count.bytes + checkpoint.sizeBytes });
  }
  return {
    requestId: null, takenCount: taken.length, bytesToFree: taken.reduce((sum, { checkpoint }) => sum + bytesToFree(checkpoint, action), 0),
    takenIds: taken.slice(0, MAX_NAMED).map(({ checkpoint }) => checkpoint.id),
    kept: kept.slice(0, MAX_NAMED).map(({ checkpoint, reason, message }) => ({ checkpointId: checkpoint.id, reason, message })),
    keptCounts: [...counts.values()],
  };
}

function bytesToFree({ sizeBytes, archiveBytes }: CandidateCheckpoint, action: CheckpointAction): number {
  switch (action) {
    case 'ARCHIVE': return sizeBytes;
    case 'DELETE': return archiveBytes ?? sizeBytes;
    case 'RESTORE': return (archiveBytes ?? 0) - sizeBytes;
    case 'DIGEST': return 0;
  }
}

function askedEvents(requestId: string, action: CheckpointAction, taken: Decided['taken']): NewEvent[] {
  const byJob = new Map<string, { job: RequestedJob; count: number }>();
  for (const { job } of taken) byJob.set(job.jobId, { job, count: (byJob.get(job.jobId)?.count ?? 0) + 1 });
  return [...byJob.values()].map(({ job: { experimentId, sweepId, jobId }, count }) => ({
    kind: 'CHECKPOINT_REQUEST_CHANGED', experimentId, sweepId, jobId, attemptNumber: null, payload: { requestId, action, state: 'PENDING', checkpointId: null, count, reason: null } }));
}

function keepOf({ keep }: CheckpointRequestInput): Keep | null {
  return keep ? { rule: keep.rule, everyNSteps: keep.everyNSteps ?? null } : null;
}

function inputFaults({ action, ids, keep, place, resources }: CheckpointRequestInput) {
  const removes = action === 'ARCHIVE' || action === 'DELETE';
  const faults = [];
  if (removes && !ids && !keep) faults.push(badInput(['keep'], `say which are kept, by one of the rules ${KEEP_RULES.join(', ')}`));
  if (ids && keep) faults.push(badInput(['keep'], 'goes with a filter: of checkpoints that are named by their ids all are meant'));
  const n = keep?.everyNSteps ?? null;
  if (keep?.rule === 'EVERY_N' && !(n !== null && Number.isSafeInteger(n) && n >= 1)) faults.push(badInput(['keep', 'everyNSteps'], 'must be a whole number of 1 or more for the rule EVERY_N'));
  if (keep && keep.rule !== 'EVERY_N' && n !== null) faults.push(badInput(['keep', 'everyNSteps'], 'is for the rule EVERY_N only'));
  if (place !== 'SLURM_JOB' && Object.keys(stated(resources ?? {})).length > 0) faults.push(badInput(['resources'], 'are those of a SLURM job: say where: SLURM_JOB, too, or leave them out'));
  return faults;
}

async function selectionOf(context: Context, { ids, filter }: CheckpointRequestInput): Promise<CheckpointSelection> {
  if (ids && filter) throw UserError.of('BAD_USER_INPUT', 'give either ids or filter, not both');
  if (ids) {
    const different = [...new Set(ids.map((id) => id.toLowerCase()))];
    if (different.length > MAX_CHECKPOINTS_PER_REQUEST) throw UserError.of('LIMIT_EXCEEDED', `names ${different.length} checkpoints; the limit is ${MAX_CHECKPOINTS_PER_REQUEST} at once`, ['ids']);
    return { ids: different };
  }
  if (!filter) throw UserError.of('BAD_USER_INPUT', 'say which checkpoints: give ids or filter');
  if (!narrows(filter)) throw UserError.of('BAD_USER_INPUT', 'names no condition and would mean every job; if that is meant, name the states', ['filter']);
  throwFaults(await unknownTargets(context, filter));
  return { filter };
}

async function refuseUnknown(reader: Reader, ids: readonly string[]): Promise<void> {
  const found = await checkpointsById(reader, ids);
  const missing = ids.filter((_, index) => found[index] === null).slice(0, 20);
  if (missing.length > 0) throw new UserError(missing.map((id) => ({ field: ['ids'], message: `there is no checkpoint ${id.slice(0, 100)}`, code: 'NOT_FOUND' })));
}

function refuseWithoutSlurm({ clusters }: Context, jobs: RequestedJob[], resources: RequestedResources): void {
  for (const name of new Set(jobs.map(({ cluster }) => cluster))) {
    const settings = clusters.get(name);
    if (settings === undefined) continue;
    if (settings.kind !== 'SLURM') throw UserError.of('BAD_USER_INPUT', `cluster "${name}" has no SLURM; use LOGIN_NODE`, ['where']);
    throwFaults(validateResources(mergeResources(resources, settings.defaultResources)));
  }
}

function stated(resources: RequestedResources): Partial<Resources> {
  return Object.fromEntries(Object.entries(resources).filter(([, value]) => value !== null && value !== undefined));
}

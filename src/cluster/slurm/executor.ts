/** SLURM behind the executor's methods: its own commands over a transport, answers read by pure functions. */
import { isBatchToken } from '../../domain/batching.ts';
import { isTerminalAttemptState } from '../../domain/states.ts';
import type { AccountingLimits } from '../../domain/submit-limits.ts';
import { SubmitError, type ClusterDescription, type Executor, type Observation, type ObservationReport, type NamedJob, type Submitted, type SubmittedBatch, type TrackedAttempt } from '../executor.ts';
import { TransportError, type ExecResult, type Transport } from '../transport.ts';
import { complaintOf, failed } from './complaint.ts';
import { BY_DEPENDENCY, VanishedTasks, withDependencies, withQueueReason } from './cancellations.ts';
import {
  accountingByIdCommands, accountingByNameCommands, accountingOfArrayCommands, cancelCommands, holdCommands, queueCommand, scriptCommand, submitCommand,
} from './commands.ts';
import { findJobByName } from './find-by-name.ts';
import { taskSlurmJobId } from './job-ids.ts';
import { parseAccounting, parseQueue, type JobRow, type Listing } from './parse.ts';
import { endOf, isOfEarlierRun, isWaiting, laterStarts, mayBeRerun, mustBeRerun, runsBefore, untoldRuns, withUnseenReruns, type Sighting } from './requeued.ts';
import { SlurmSite, textOf } from './site.ts';
import { EndedJobs, strangersIn } from './strangers.ts';
import { readSubmitAnswer } from './submit-answer.ts';

/** How far the cluster's clock may be behind ours when a submission is looked up by its time. */
const CLOCK_SKEW_MS = 60 * 60 * 1000;
/** How long accounting may lag behind the controller; seen: up to 5 s. */
const ACCOUNTING_WAIT_MS = 15_000;
/** sbatch tries again by itself for two minutes when the controller takes no more jobs: its answer is waited for. */
const SUBMIT_TIMEOUT_MS = 180_000;
/** What sacct says where there is none: then squeue and the exit records are all there is. */
const NO_ACCOUNTING = /accounting storage is disabled/i;
/** For how long accounting that a site is known not to have is not asked. */
const ASK_FOR_ACCOUNTING_AGAIN_MS = 10 * 60_000;
/** What scancel and scontrol say of jobs that have ended, were never there, or are no longer pending. */
const NOTHING_TO_DO = /invalid job id|already complet|job\/step already|job has already finished|job is no longer pending|: no error$/i;

export const openSlurmExecutor = (transport: Transport): Executor => new SlurmExecutor(transport);

class SlurmExecutor implements Executor {
  readonly #transport: Transport;
  readonly #site: SlurmSite;
  /** When the controller was first seen to say that a run has ended, while accounting does not. */
  readonly #endSeenAt = new Map<string, number>();
  readonly #vanished = new VanishedTasks();
  readonly #endedJobs = new EndedJobs();
  /** When the site last said that it keeps no accounts. */
  #noAccountingAt = -Infinity;

  constructor(transport: Transport) {
    this.#transport = transport;
    this.#site = new SlurmSite(transport);
  }

  async submit(batch: SubmittedBatch, script: string): Promise<Submitted> {
    const result = await this.#sendBatch(batch, script);
    const slurmJobId = readSubmitAnswer(result);
    return {
      slurmJobId,
      taskSlurmJobIds: batch.tasks.map((_, index) => taskSlurmJobId(slurmJobId, index, batch.tasks.length)),
      answer: result.stdout.toString('utf8').trim(),
    };
  }

  async #sendBatch(batch: SubmittedBatch, script: string): Promise<ExecResult> {
    try {
      return await this.#transport.exec(submitCommand(batch), { stdin: script, timeoutMs: SUBMIT_TIMEOUT_MS });
    } catch (error) {
      if (!(error instanceof TransportError)) throw error;
      const sent = error.failure === 'interrupted' || error.failure === 'output-limit';
      throw new SubmitError(sent ? 'ambiguous' : 'transient', error.message, null, { cause: error });
    }
  }

  async observe(attempts: TrackedAttempt[]): Promise<ObservationReport> {
    const tracked = new TrackedTasks(attempts);
    const queue = parseQueue(await textOf(this.#transport, queueCommand(await this.#site.userName())), (jobName) => tracked.isWanted(jobName) || isBatchToken(jobName));
    const listed = tracked.match(queue.rows, () => true);
    const inQueue = listed.filter(({ state }) => !isTerminalAttemptState(state));
    const seen = new Set(inQueue.map(keyOf));
    const asked = new Map(attempts.map((attempt) => [keyOf(attempt), attempt]));
    const { active, problems } = await this.#tellReruns(inQueue, asked);
    const over = attempts.filter((attempt) => !seen.has(keyOf(attempt)));
    const accounting = await this.#accounting(over, new Set(listed.map(keyOf)), queue.rows);
    const endedInQueue = new Map(listed.map((observation) => [keyOf(observation), observation]));
    const accounted = new Set(accounting.observations.map(keyOf));
    const ended = listed.filter((observation) => !seen.has(keyOf(observation)) && !accounted.has(keyOf(observation)));
    const told = this.#awaitAccounting(ended, asked);
    const toldByQueue = this.#hasAccounting() ? told : await withUnseenReruns(this.#transport, over, told);
    const ofAccounting = accounting.observations.map((seenThere) => withQueueReason(seenThere, endedInQueue.get(keyOf(seenThere))));
    return {
      observations: [...active, ...await withDependencies(this.#transport, [...ofAccounting, ...toldByQueue])],
      strangers: strangersIn(queue.rows, listed, this.#endedJobs.endedAgain(queue.rows)),
      queueCounts: queue.counts,
      problems: [...queue.problems, ...problems, ...accounting.problems],
      isIncomplete: accounting.isIncomplete === true, hasAccounting: this.#hasAccounting(),
    };
  }

  #hasAccounting(): boolean {
    return Date.now() - this.#noAccountingAt > ASK_FOR_ACCOUNTING_AGAIN_MS;
  }

  /** Completes what the queue says of jobs that were put back into it with how their earlier runs ended. */
  async #tellReruns(inQueue: Sighting[], attempts: Map<string, TrackedAttempt>): Promise<{ active: Sighting[]; problems: string[] }> {
    const attemptOf = (seen: Sighting): TrackedAttempt => attempts.get(keyOf(seen))!;
    const suspects = inQueue.filter((seen) => mayBeRerun(attemptOf(seen), seen));
    if (suspects.length === 0) return { active: inQueue, problems: [] };
    const tracked = new TrackedTasks(suspects.map(attemptOf));
    const { rows, problems } = await this.#list(accountingByIdCommands(suspects.map(({ slurmJobId }) => slurmJobId)), tracked);
    const starts = this.#hasAccounting() ? new Map<TrackedAttempt, number>() : await laterStarts(this.#transport, suspects.map(attemptOf));
    const now = Date.now();
    const active = inQueue.map((seen): Sighting => {
      if (!suspects.includes(seen)) return seen;
      const attempt = attemptOf(seen);
      const row = rows.find(({ baseId, jobName, taskIndexes }) => jobName === seen.token && seen.slurmJobId.split('_')[0] === baseId && (taskIndexes === null || taskIndexes.includes(seen.taskIndex)));
      const earlierRuns = row === undefined ? [] : runsBefore(seen, row);
      if (earlierRuns.length > attempt.restart) return { ...seen, earlierRuns };
      const started = starts.get(attempt) ?? 0;
      // Where accounting knows of the run in the queue, it knows of those before it, too: then a clock of a node is wrong.
      const isToldWhole = row?.submittedAt?.getTime() === seen.submittedAt?.getTime();
      if (started === 0 && (isToldWhole || !mustBeRerun(attempt, seen))) return seen;
      const since = this.#endSeenAt.get(runOf(attempt)) ?? now;
      this.#endSeenAt.set(runOf(attempt), since);
      if (!this.#hasAccounting() || now - since >= ACCOUNTING_WAIT_MS) return { ...seen, earlierRuns: untoldRuns(attempt, Math.max(1, isWaiting(seen) ? started + 1 : started)) };
      // Seen, though as which run is not known: a run that broke off must not be judged by its exit record as if nobody had seen it.
      return { ...seen, state: 'COMPLETING', reason: null, estimatedStartAt: null, startedAt: null };
    });
    return { active, problems };
  }

  /**
   * Attempts whose end the controller knows of and accounting does not yet. Accounting alone knows exit code and memory,
   * so for a while they count as completing; then the controller's word stands, unless it is about a later run than the one that is known.
   */
  #awaitAccounting(ended: Sighting[], attempts: Map<string, TrackedAttempt>): Observation[] {
    const now = Date.now();
    const runs = new Set([...attempts.values()].map(runOf));
    for (const run of this.#endSeenAt.keys()) if (!runs.has(run)) this.#endSeenAt.delete(run);
    return ended.map((observation) => {
      const hasStarted = observation.startedAt !== null;
      // What never started has neither, and its reason is that for which it waited. Only of a dependency that may be what ended it.
      const mayBeTold = hasStarted || observation.reason?.startsWith('Dependency') === true;
      const told = hasStarted || observation.reason === BY_DEPENDENCY ? observation : { ...observation, reason: null };
      if (!mayBeTold || !this.#hasAccounting()) return told;
      const attempt = attempts.get(keyOf(observation))!;
      const seenAt = this.#endSeenAt.get(runOf(attempt)) ?? now;
      this.#endSeenAt.set(runOf(attempt), seenAt);
      return now - seenAt >= ACCOUNTING_WAIT_MS && !mustBeRerun(attempt, observation) ? told : { ...observation, state: hasStarted ? 'COMPLETING' : 'PENDING', elapsedSeconds: null };
    });
  }

  /** What accounting says of attempts that squeue does not list as waiting or under way; it may list them as ended. */
  async #accounting(absent: TrackedAttempt[], inQueue: Set<string>, queueRows: JobRow[]): Promise<Omit<ObservationReport, 'strangers' | 'queueCounts'>> {
    if (absent.length === 0) return { observations: [], problems: [] };
    const tracked = new TrackedTasks(absent);
    const unresolved = absent.filter(({ slurmJobId }) => slurmJobId === null);
    const tokens = new Set(unresolved.map(({ token }) => token));
    const since = new Date(Math.min(...unresolved.map(({ submittedAt }) => submittedAt.getTime())) - CLOCK_SKEW_MS);
    const first = await this.#list([
      ...accountingByIdCommands(absent.flatMap(({ slurmJobId }) => slurmJobId ?? [])),
      ...(tokens.size === 0 ? [] : accountingByNameCommands([...tokens], since)),
    ], tracked);
    // Tasks that were cancelled before they got a record of their own are found in that of their array only: under their
    // indexes, or under the array's bare id once none is left in it.
    const listed = new Set([...inQueue, ...tracked.match(first.rows, () => true).map(keyOf)]);
    const without = absent.filter((attempt) => attempt.slurmJobId?.includes('_') && !listed.has(keyOf(attempt)));
    const arrays = [...new Set(without.map(({ slurmJobId }) => slurmJobId?.split('_')[0] ?? ''))];
    const second = await this.#list(accountingOfArrayCommands(arrays), tracked);
    // Of jobs still under way squeue alone is to be believed: accounting lags, and may show a job as running for ever.
    // Here they count only as a trace of a submission whose answer was lost.
    const isEvidence = (row: JobRow, attempt: TrackedAttempt): boolean => (isTerminalAttemptState(row.state) && !isOfEarlierRun(attempt, row)) || tokens.has(row.jobName);
    const isIncomplete = first.isIncomplete || second.isIncomplete;
    const named = new Set(new TrackedTasks(without).match(second.rows, () => true, true).map(keyOf));
    const vanished = isIncomplete || !this.#hasAccounting() ? [] : without.filter((attempt) => !named.has(keyOf(attempt)));
    return {
      observations: [
        ...tracked.match(first.rows, isEvidence), ...new TrackedTasks(without).match(second.rows, isEvidence, true),
        ...this.#vanished.cancelled(vanished, [...queueRows, ...second.rows], Date.now()),
      ],
      problems: [...first.problems, ...second.problems],
      isIncomplete,
    };
  }

  async #list(commands: string[][], tracked: TrackedTasks): Promise<Listing & { isIncomplete: boolean }> {
    const listing: Listing & { isIncomplete: boolean } = { rows: [], problems: [], isIncomplete: false };
    for (const command of commands) {
      if (!this.#hasAccounting()) break;
      const result = await this.#transport.exec(command);
      if (result.exitCode !== 0 && NO_ACCOUNTING.test(result.stderr.toString('utf8'))) {
        this.#noAccountingAt = Date.now();
        break;
      }
      if (result.exitCode !== 0) {
        listing.problems.push(`sacct: ${complaintOf(result)}`);
        listing.isIncomplete = true;
      }
      const { rows, problems } = parseAccounting(result.stdout.toString('utf8'), tracked.isWanted);
      listing.rows.push(...rows);
      listing.problems.push(...problems);
    }
    return listing;
  }

  async cancel(slurmJobIds: string[]): Promise<void> {
    // A hold gives each waiting array task a record of its own: without one it would vanish from the queue and leave no trace.
    await this.setHeld(slurmJobIds.filter((id) => id.includes('_')), true);
    for (const command of cancelCommands(slurmJobIds)) await this.#tell(command);
  }

  async cancelWaiting(slurmJobIds: string[]): Promise<void> {
    for (const command of cancelCommands(slurmJobIds, { onlyWaiting: true })) await this.#tell(command);
  }

  async setHeld(slurmJobIds: string[], held: boolean): Promise<void> {
    for (const command of holdCommands(slurmJobIds, held)) await this.#tell(command);
  }

  async findByName(name: string): Promise<NamedJob | null> {
    return findJobByName(this.#transport, await this.#site.userName(), name);
  }

  async readScript(slurmJobId: string): Promise<{ script: string } | { problem: string }> {
    const result = await this.#transport.exec(scriptCommand(slurmJobId));
    return result.exitCode === 0 ? { script: result.stdout.toString('utf8') } : { problem: `scontrol: ${complaintOf(result)}` };
  }

  async describe(): Promise<ClusterDescription> {
    const { keepsAccounts, ...description } = await this.#site.describe();
    if (keepsAccounts === false) this.#noAccountingAt = Date.now();
    return { ...description, hasAccounting: this.#hasAccounting() ? keepsAccounts : false };
  }

  async limits(): Promise<AccountingLimits | null> {
    return this.#hasAccounting() ? this.#site.limits() : null;
  }

  async #tell(argv: string[]): Promise<void> {
    const result = await this.#transport.exec(argv);
    const complaints = result.stderr.toString('utf8').split('\n').filter((line) => line.trim() !== '');
    const isFault = result.exitCode === null || complaints.some((line) => !NOTHING_TO_DO.test(line));
    if (result.exitCode !== 0 && (isFault || complaints.length === 0)) throw failed(argv, result);
  }
}

/** Finds the attempts that a listing's rows speak of. */
class TrackedTasks {
  readonly #byToken = new Map<string, Map<number, TrackedAttempt>>();

  constructor(attempts: TrackedAttempt[]) {
    for (const attempt of attempts) {
      const tasks = this.#byToken.get(attempt.token) ?? new Map<number, TrackedAttempt>();
      this.#byToken.set(attempt.token, tasks.set(attempt.taskIndex, attempt));
    }
  }

  readonly isWanted = (jobName: string): boolean => this.#byToken.has(jobName);

  /** @param bareIdMeansAll whether a row of an array's bare id speaks of each of its tasks here, or of none */
  match(rows: JobRow[], isEvidence: (row: JobRow, attempt: TrackedAttempt) => boolean, bareIdMeansAll = false): Sighting[] {
    const found = new Map<string, Sighting>();
    // A row of a task's own outranks one that speaks of the tasks still waiting when it was written.
    const byPrecision = [...rows].sort((a, b) => precision(a) - precision(b));
    for (const row of byPrecision) {
      for (const taskIndex of row.taskIndexes ?? this.#indexesUnderBareId(row, bareIdMeansAll)) {
        const attempt = this.#byToken.get(row.jobName)?.get(taskIndex);
        const observation = attempt === undefined || !isEvidence(row, attempt) ? null : this.#observe(row, attempt);
        if (observation !== null && !found.has(keyOf(observation))) found.set(keyOf(observation), observation);
      }
    }
    return [...found.values()];
  }

  #indexesUnderBareId({ jobName }: JobRow, bareIdMeansAll: boolean): number[] {
    const attempts = [...this.#byToken.get(jobName)?.values() ?? []];
    return attempts.filter(({ taskCount }) => taskCount === 1 || bareIdMeansAll).map(({ taskIndex }) => taskIndex);
  }

  #observe(row: JobRow, attempt: TrackedAttempt): Sighting | null {
    const { taskIndex } = attempt;
    const slurmJobId = taskSlurmJobId(row.baseId, taskIndex, attempt.taskCount);
    // The same name under another id is a second submission, which the start guard keeps from running.
    if (attempt.slurmJobId !== null && attempt.slurmJobId !== slurmJobId) return null;
    const { state, reason, nodeList, exitCode, signal, estimatedStartAt, startedAt, finishedAt, elapsedSeconds, maxRssBytes, submittedAt } = row;
    return {
      token: row.jobName, taskIndex, slurmJobId, state, reason, nodeList, exitCode, signal,
      estimatedStartAt, startedAt, finishedAt, elapsedSeconds, maxRssBytes, submittedAt, earlierRuns: row.earlierRuns.map(endOf),
    };
  }
}

/** How many tasks a row speaks of; one under a bare id of all there are. */
function precision({ taskIndexes }: JobRow): number {
  return taskIndexes?.length ?? Number.MAX_SAFE_INTEGER;
}

function keyOf({ token, taskIndex }: { token: string; taskIndex: number }): string {
  return `${token} ${taskIndex}`;
}

/** A requeue keeps the task, and is another run. */
function runOf(attempt: TrackedAttempt): string {
  return `${keyOf(attempt)} ${attempt.restart}`;
}

/** SLURM behind the executor's methods: its own commands over a transport, answers read by pure functions. */
import type { BatchSpec } from '../../domain/batch.ts';
import { isTerminalAttemptState } from '../../domain/states.ts';
import { SubmitError, type ClusterDescription, type Executor, type Observation, type ObservationReport, type Submitted, type TrackedAttempt } from '../executor.ts';
import { TransportError, type ExecResult, type Transport } from '../transport.ts';
import {
  accountingByIdCommands, accountingByNameCommands, accountingOfArrayCommands, cancelCommands, CONFIG_COMMAND, holdCommands, NODES_COMMAND, queueCommand,
  QUEUE_STATES_COMMAND, submitCommand,
} from './commands.ts';
import { taskSlurmJobId } from './job-ids.ts';
import { countStates, parseConfig, parsePartitions } from './parse-cluster.ts';
import { parseAccounting, parseQueue, type JobRow, type Listing } from './parse.ts';
import { readSubmitAnswer } from './submit-answer.ts';

/** How far the cluster's clock may be behind ours when a submission is looked up by its time. */
const CLOCK_SKEW_MS = 60 * 60 * 1000;
/** What scancel and scontrol say of jobs that have ended, were never there, or are no longer pending. */
const NOTHING_TO_DO = /invalid job id|already complet|job\/step already|job has already finished|job is no longer pending/i;

export function openSlurmExecutor(transport: Transport): Executor {
  return new SlurmExecutor(transport);
}

class SlurmExecutor implements Executor {
  readonly #transport: Transport;
  #user: Promise<string> | null = null;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  async submit(batch: BatchSpec, script: string): Promise<Submitted> {
    const result = await this.#sendBatch(batch, script);
    const slurmJobId = readSubmitAnswer(result);
    return {
      slurmJobId,
      taskSlurmJobIds: batch.tasks.map((_, index) => taskSlurmJobId(slurmJobId, index, batch.tasks.length)),
      answer: result.stdout.toString('utf8').trim(),
    };
  }

  async #sendBatch(batch: BatchSpec, script: string): Promise<ExecResult> {
    try {
      return await this.#transport.exec(submitCommand(batch), { stdin: script });
    } catch (error) {
      if (!(error instanceof TransportError)) throw error;
      const sent = error.failure === 'interrupted' || error.failure === 'output-limit';
      throw new SubmitError(sent ? 'ambiguous' : 'transient', error.message, null, { cause: error });
    }
  }

  async observe(attempts: TrackedAttempt[]): Promise<ObservationReport> {
    if (attempts.length === 0) return { observations: [], problems: [] };
    const tracked = new TrackedTasks(attempts);
    const queue = parseQueue(await this.#text(queueCommand(await this.#userName())), tracked.isWanted);
    const observations = tracked.match(queue.rows, () => true);
    const seen = new Set(observations.map(keyOf));
    const absent = attempts.filter((attempt) => !seen.has(keyOf(attempt)));
    const accounting = await this.#accounting(absent);
    return { observations: [...observations, ...accounting.observations], problems: [...queue.problems, ...accounting.problems] };
  }

  /** What accounting says of attempts that squeue does not list. */
  async #accounting(absent: TrackedAttempt[]): Promise<ObservationReport> {
    if (absent.length === 0) return { observations: [], problems: [] };
    const tracked = new TrackedTasks(absent);
    const unresolved = absent.filter(({ slurmJobId }) => slurmJobId === null);
    const tokens = new Set(unresolved.map(({ token }) => token));
    const since = new Date(Math.min(...unresolved.map(({ submittedAt }) => submittedAt.getTime())) - CLOCK_SKEW_MS);
    const first = await this.#list([
      ...accountingByIdCommands(absent.flatMap(({ slurmJobId }) => slurmJobId ?? [])),
      ...(tokens.size === 0 ? [] : accountingByNameCommands([...tokens], since)),
    ], tracked);
    // Tasks that were cancelled before they got a record of their own are found in that of their array only.
    const listed = new Set(tracked.match(first.rows, () => true).map(keyOf));
    const without = absent.filter((attempt) => attempt.slurmJobId?.includes('_') && !listed.has(keyOf(attempt)));
    const arrays = [...new Set(without.map(({ slurmJobId }) => slurmJobId?.split('_')[0] ?? ''))];
    const second = await this.#list(accountingOfArrayCommands(arrays), tracked);
    // Of jobs still under way squeue alone is to be believed: accounting lags, and may show a job as running for ever.
    // Here they count only as a trace of a submission whose answer was lost.
    const isEvidence = (row: JobRow): boolean => isTerminalAttemptState(row.state) || tokens.has(row.jobName);
    return {
      observations: [...tracked.match(first.rows, isEvidence), ...new TrackedTasks(without).match(second.rows, isEvidence)],
      problems: [...first.problems, ...second.problems],
    };
  }

  async #list(commands: string[][], tracked: TrackedTasks): Promise<Listing> {
    const listing: Listing = { rows: [], problems: [] };
    for (const command of commands) {
      const result = await this.#transport.exec(command);
      // Without accounting the queue and the jobs' exit records still tell the story.
      if (result.exitCode !== 0) listing.problems.push(`sacct: ${complaintOf(result)}`);
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

  async setHeld(slurmJobIds: string[], held: boolean): Promise<void> {
    for (const command of holdCommands(slurmJobIds, held)) await this.#tell(command);
  }

  async describe(): Promise<ClusterDescription> {
    const [nodes, states, config] = await Promise.all([this.#text(NODES_COMMAND), this.#text(QUEUE_STATES_COMMAND), this.#text(CONFIG_COMMAND)]);
    return { partitions: parsePartitions(nodes), ...countStates(states), ...parseConfig(config) };
  }

  /** Runs a command that must succeed for its output to mean anything: an empty listing is not "no jobs" when squeue failed. */
  async #text(argv: string[]): Promise<string> {
    const result = await this.#transport.exec(argv);
    if (result.exitCode !== 0) throw failed(argv, result);
    return result.stdout.toString('utf8');
  }

  async #tell(argv: string[]): Promise<void> {
    const result = await this.#transport.exec(argv);
    const complaints = result.stderr.toString('utf8').split('\n').filter((line) => line.trim() !== '');
    const isFault = result.exitCode === null || complaints.some((line) => !NOTHING_TO_DO.test(line));
    if (result.exitCode !== 0 && (isFault || complaints.length === 0)) throw failed(argv, result);
  }

  /** Asked once: jobs are listed by the name of the account that submits them. */
  #userName(): Promise<string> {
    this.#user ??= this.#text(['id', '-un']).then((text) => text.trim()).catch((error: unknown) => {
      this.#user = null;
      throw error;
    });
    return this.#user;
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

  match(rows: JobRow[], isEvidence: (row: JobRow) => boolean): Observation[] {
    const found = new Map<string, Observation>();
    // A row of a task's own outranks one that speaks of the tasks still waiting when it was written.
    const byPrecision = [...rows].sort((a, b) => (a.taskIndexes?.length ?? 1) - (b.taskIndexes?.length ?? 1));
    for (const row of byPrecision) {
      for (const taskIndex of row.taskIndexes ?? [0]) {
        const observation = this.#observe(row, taskIndex);
        if (observation !== null && isEvidence(row) && !found.has(keyOf(observation))) found.set(keyOf(observation), observation);
      }
    }
    return [...found.values()];
  }

  #observe(row: JobRow, taskIndex: number): Observation | null {
    const attempt = this.#byToken.get(row.jobName)?.get(taskIndex);
    if (attempt === undefined) return null;
    const slurmJobId = taskSlurmJobId(row.baseId, taskIndex, attempt.taskCount);
    // The same name under another id is a second submission, which the start guard keeps from running.
    if (attempt.slurmJobId !== null && attempt.slurmJobId !== slurmJobId) return null;
    const { state, reason, nodeList, exitCode, signal, startedAt, finishedAt, elapsedSeconds, maxRssBytes } = row;
    return { token: row.jobName, taskIndex, slurmJobId, state, reason, nodeList, exitCode, signal, startedAt, finishedAt, elapsedSeconds, maxRssBytes };
  }
}

function keyOf({ token, taskIndex }: { token: string; taskIndex: number }): string {
  return `${token} ${taskIndex}`;
}

function failed(argv: string[], result: ExecResult): TransportError {
  const command = argv.find((word) => /^(squeue|sacct|scancel|scontrol|sinfo|id)$/.test(word)) ?? argv[0];
  return new TransportError('unreachable', `${command}: ${complaintOf(result)}`);
}

function complaintOf(result: ExecResult): string {
  const how = result.signal === null ? `exit code ${result.exitCode}` : `signal ${result.signal}`;
  return `${result.stderr.toString('utf8').trim().slice(0, 2000) || 'no message'} (${how})`;
}

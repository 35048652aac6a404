/**
 * Carries out what people asked for on checkpoints: on the login node one run after another, each bounded in time and bytes, or in SLURM jobs. What
 * became of each checkpoint is told by the run itself. A run may be killed at any moment, or take place twice: the program that it is made of
 * goes on where it was and loses nothing, so what is not known to be done is simply done again.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import type { Logger } from 'pino';
import { SubmitError, type Cluster, type NamedJob } from '../cluster/executor.ts';
import { TransportError } from '../cluster/transport.ts';
import type { Database } from '../db/database.ts';
import { hasOpenItems, readItemsOfRun, readOpenItems, readOpenRuns, type CheckpointRunRow, type OpenItem } from '../db/read/checkpoint-requests.ts';
import { transact } from '../db/transaction.ts';
import { endCheckpointRun, notePendingItems, noteRunItems, recordRunSubmitted } from '../db/write/checkpoint-requests.ts';
import { parseReport, renderProgram, type RunReport } from '../domain/checkpoint-requests/program.ts';
import { LOGIN_NODE_RUN_BYTES, LOGIN_NODE_RUN_SECONDS, MAX_ITEMS_PER_RUN, type CheckpointPlace } from '../domain/checkpoint-requests/request.ts';
import { batchDirectory } from '../domain/layout.ts';
import { mergeResources } from '../domain/resources.ts';
import { isTerminalAttemptState } from '../domain/states.ts';
import { claimItems, commitReport, giveBackItems, giveUpItems, type ClaimedItem } from './checkpoint-outcomes.ts';
import { isAboutArchive, planItems } from './checkpoint-plan.ts';
import { crashPoint } from './crash-point.ts';
import { LIST_DEPTH } from './harvest.ts';

/** SLURM jobs for checkpoints that a cluster has at once. */
const MAX_OPEN_RUNS = 2;
/** How often the queue is asked about them. */
const ASK_QUEUE_EVERY_MS = 15_000;
/** What the queue has not shown for so long has ended. */
const GONE_AFTER_MS = 120_000;
/** A report of 500 checkpoints with long reasons is a tenth of it. */
const MAX_REPORT_BYTES = 4 * 1024 * 1024;
/** What a SLURM job asks for unless somebody says otherwise. */
const RUN_RESOURCES = { gpus: 0, cpus: 2, memoryMiB: 2048, timeLimitMinutes: 240, nodes: 1 };
/** Ends the program in time, whatever becomes of the connection. */
const BOUNDED = 'if command -v timeout >/dev/null; then exec timeout -k 10 "$1" bash -s; else exec bash -s; fi';
const NOTHING_TOLD: RunReport = { items: new Map(), begun: [], busy: [], hasEnded: false };
const TIMED_OUT_EXIT_CODES = [124, 137];

export interface CheckpointWorkDependencies {
  database: Database;
  cluster: Cluster;
  logger: Logger;
  now: () => Date;
  /** Aborted when the loop is to end: a run on the login node is not waited for then. */
  stopped: AbortSignal;
}

/** How a SLURM job has ended, for all that the queue says. */
interface RunEnd {
  words: string;
  wasCancelled: boolean;
  /** The queue does not show it: it may yet come. */
  isUnseen: boolean;
}

export class CheckpointWork {
  readonly #dependencies: CheckpointWorkDependencies;
  #isBusy = true;
  #askedAt = -Infinity;
  /** When the queue last showed each run. */
  readonly #shownAt = new Map<string, number>();

  constructor(dependencies: CheckpointWorkDependencies) {
    this.#dependencies = dependencies;
  }

  /** Whether there is something to be done, or to be waited for. */
  isBusy(): boolean {
    return this.#isBusy;
  }

  async run(): Promise<void> {
    const { database, cluster: { settings, breaker } } = this.#dependencies;
    if (breaker.status().state !== 'CLOSED') await this.#note({ cluster: settings.name }, 'its cluster does not answer');
    const runs = await readOpenRuns(database, settings.name);
    await this.#followRuns(runs);
    if (runs.length >= MAX_OPEN_RUNS) await this.#note({ cluster: settings.name, place: 'SLURM_JOB' }, `${MAX_OPEN_RUNS} SLURM jobs for checkpoints are to end first`);
    const forSlurm = runs.length < MAX_OPEN_RUNS ? await this.#openItems('SLURM_JOB') : [];
    if (forSlurm.length > 0) await this.#submitRun(forSlurm);
    const here = await this.#openItems('LOGIN_NODE');
    // A run that took minutes must not be what tries whether the cluster answers again: all else would wait for it.
    if (here.length > 0 && breaker.status().state === 'CLOSED') await this.#runHere(withinBytes(here, LOGIN_NODE_RUN_BYTES));
    this.#isBusy = runs.length > 0 || await hasOpenItems(database, settings.name);
  }

  async #openItems(place: CheckpointPlace): Promise<OpenItem[]> {
    const { database, cluster: { settings }, now } = this.#dependencies;
    return readOpenItems(database, settings.name, place, { limit: MAX_ITEMS_PER_RUN[place], now: now() });
  }

  async #note(which: { cluster: string; place?: CheckpointPlace }, problem: string): Promise<void> {
    await transact(this.#dependencies.database, (transaction) => notePendingItems(transaction, which, problem));
  }

  async #runHere(items: OpenItem[]): Promise<void> {
    const { database, cluster, logger, stopped } = this.#dependencies;
    const claimed = await claimItems(database, await planItems(database, cluster, items), null);
    if (claimed.length === 0) return;
    const script = this.#script(randomUUID(), claimed, { limitSeconds: LOGIN_NODE_RUN_SECONDS, threads: 1, reportPath: null, overPath: null });
    crashPoint('checkpoints-before-run');
    const timeoutMs = (LOGIN_NODE_RUN_SECONDS + 60) * 1000;
    const ran = cluster.transport.exec(['sh', '-c', BOUNDED, 'checkpoints', String(LOGIN_NODE_RUN_SECONDS)], { stdin: script, timeoutMs });
    const result = await Promise.race([ran, whenAborted(stopped)]).catch(async (error: unknown) => {
      // What was not sent is no try. What was sent stays RUNNING: half of it may be done.
      if (error instanceof TransportError && error.failure === 'unreachable') await giveBackItems(database, claimed.map(({ item }) => item), NOTHING_TOLD, '');
      throw error;
    });
    if (result === null) return void ran.catch(() => undefined);
    crashPoint('checkpoints-after-run');
    const report = parseReport(result.stdout.toString('utf8'));
    const untold = await commitReport(database, claimed.map(({ item }) => item), report);
    crashPoint('checkpoints-after-commit');
    if (untold.length === 0) return;
    const isTimeOut = result.exitCode !== null && TIMED_OUT_EXIT_CODES.includes(result.exitCode);
    const words = result.stderr.toString('utf8').trim().slice(-300);
    if (!report.hasEnded) logger.warn({ exitCode: result.exitCode, stderr: words, count: untold.length }, 'a run over checkpoints broke off');
    const slow = isTimeOut ? untold.filter(({ checkpointId }) => report.begun.at(-1) === checkpointId) : [];
    await giveUpItems(database, slow, `it took longer than the ${LOGIN_NODE_RUN_SECONDS} s that a run on the login node may take; ask for a SLURM_JOB`, { wasBegun: true });
    const begun = report.begun.length > 0 || report.hasEnded ? report.begun : untold.map(({ checkpointId }) => checkpointId);
    await giveBackItems(database, untold.filter((item) => !slow.includes(item)), { ...report, begun }, `the run broke off${words === '' ? '' : `: ${words}`}`);
  }

  /** Of one request at a time: what the SLURM job may ask for is said with it. */
  async #submitRun(open: OpenItem[]): Promise<void> {
    const { database, cluster, logger } = this.#dependencies;
    const { settings: { name, rootDirectory, defaultResources } } = cluster;
    const items = open.filter(({ requestId }) => requestId === open[0]?.requestId);
    const run = { id: randomUUID(), cluster: name, token: `expgraph-checkpoints-${randomBytes(6).toString('hex')}` };
    const claimed = await claimItems(database, await planItems(database, cluster, items), run);
    if (claimed.length === 0) return;
    const { gpus: _gpus, gpuType: _gpuType, cpus: _cpus, memoryMiB: _memory, timeLimitMinutes: _limit, nodes: _nodes, ...site } = defaultResources;
    const asked = mergeResources({ ...RUN_RESOURCES, ...items[0]?.resources }, site);
    // A job that SLURM starts a second time would work on what its items have become since.
    const { requeue: _requeue, ...sbatchOptions } = asked.sbatchOptions;
    const resources = { ...asked, sbatchOptions: { ...sbatchOptions, 'no-requeue': '' } };
    const limitSeconds = (resources.timeLimitMinutes ?? RUN_RESOURCES.timeLimitMinutes) * 60;
    const script = this.#script(run.id, claimed, { limitSeconds, threads: resources.cpus, ...pathsOf(rootDirectory, run.token) });
    crashPoint('checkpoints-before-run');
    try {
      const { slurmJobId } = await cluster.executor.submit({ token: run.token, rootDirectory, resources, tasks: [{}] }, script);
      crashPoint('checkpoints-after-run');
      if (slurmJobId !== null) await transact(database, (transaction) => recordRunSubmitted(transaction, run.id, slurmJobId));
      logger.info({ slurmJobId, checkpoints: claimed.length }, 'a SLURM job for checkpoints was submitted');
    } catch (error) {
      if (!(error instanceof SubmitError)) throw error;
      logger.warn({ err: error }, 'a SLURM job for checkpoints was not submitted');
      if (error.failure === 'ambiguous') return;
      const all = claimed.map(({ item }) => item);
      if (error.failure === 'refused') await giveUpItems(database, all, `the SLURM job was refused: ${error.message}`, { wasBegun: false });
      else await giveBackItems(database, all, NOTHING_TOLD, '');
      await transact(database, (transaction) => endCheckpointRun(transaction, run.id));
      if (error.failure !== 'refused') throw error;
    }
  }

  async #followRuns(runs: CheckpointRunRow[]): Promise<void> {
    if (runs.length === 0) return;
    const { database, cluster, now } = this.#dependencies;
    const time = now().getTime();
    const asksQueue = time - this.#askedAt >= ASK_QUEUE_EVERY_MS;
    if (asksQueue) this.#askedAt = time;
    for (const run of runs) {
      // Before its report is read: what ended by then has told all that it ever will.
      const job = asksQueue ? await cluster.executor.findByName(run.token) : undefined;
      if (job) this.#shownAt.set(run.id, time);
      if (job) await transact(database, (transaction) => noteRunItems(transaction, run.id, job.state === 'PENDING' ? `SLURM job ${job.slurmJobId} waits in the queue of its cluster` : null));
      await this.#followRun(run, job === undefined ? null : this.#endOf(run, job, time));
    }
  }

  #endOf({ id, slurmJobId, submittedAt }: CheckpointRunRow, job: NamedJob | null, time: number): RunEnd | null {
    if (job) return isTerminalAttemptState(job.state) ? { words: `SLURM job ${job.slurmJobId} ended: ${job.state}`, wasCancelled: job.state === 'CANCELLED', isUnseen: false } : null;
    const waitMs = slurmJobId === null ? this.#dependencies.cluster.settings.submitGraceSeconds * 1000 : GONE_AFTER_MS;
    if (time - (this.#shownAt.get(id) ?? submittedAt.getTime()) <= waitMs) return null;
    return { words: slurmJobId === null ? 'the SLURM job did not come into the queue' : `SLURM job ${slurmJobId} is not in the queue any more`, wasCancelled: false, isUnseen: true };
  }

  async #followRun(run: CheckpointRunRow, end: RunEnd | null): Promise<void> {
    const { database, cluster } = this.#dependencies;
    const { reportPath, overPath } = pathsOf(cluster.settings.rootDirectory, run.token);
    // It may come after all, when its checkpoints are others' business.
    if (end?.isUnseen) await cluster.transport.exec(['mkdir', '-p', '--', overPath]);
    const [content] = await cluster.transport.read([{ path: reportPath, offsetBytes: 0, maxBytes: MAX_REPORT_BYTES }]);
    const report = parseReport(content?.toString('utf8') ?? '');
    const untold = await commitReport(database, await readItemsOfRun(database, run.id), report);
    crashPoint('checkpoints-after-commit');
    if (!report.hasEnded && end === null) return;
    if (end?.wasCancelled) await giveUpItems(database, untold, end.words, { wasBegun: true });
    // What has told nothing at all would tell nothing again, time after time.
    const begun = report.begun.length > 0 || report.hasEnded ? report.begun : untold.map(({ checkpointId }) => checkpointId);
    if (!end?.wasCancelled) await giveBackItems(database, untold, { ...report, begun }, end?.words ?? 'the SLURM job ended');
    await transact(database, (transaction) => endCheckpointRun(transaction, run.id));
    this.#shownAt.delete(run.id);
  }

  #script(runId: string, claimed: ClaimedItem[], how: { limitSeconds: number; threads: number; reportPath: string | null; overPath: string | null }): string {
    const { rootDirectory } = this.#dependencies.cluster.settings;
    const items = claimed.map(({ item, ...rest }) => {
      const { checkpointId, action, jobDirectory, fileCount, writtenAt, checkpoint: { path, archivePath, archiveBytes, earlierArchives } } = item;
      const sizeBytes = isAboutArchive(item) ? archiveBytes ?? 0 : item.sizeBytes;
      return {
        ...rest, checkpointId, action, jobDirectory, path, archivePath: isAboutArchive(item) ? archivePath : null, earlierArchives: earlierArchives.map((earlier) => earlier.path),
        recorded: action === 'RESTORE' ? null : { sizeBytes, fileCount, writtenAt, lookedDepth: LIST_DEPTH },
      };
    });
    return renderProgram({ runId, rootDirectory, items, ...how });
  }
}

/** As many from the front as fit, and always the first. */
function withinBytes(items: OpenItem[], maxBytes: number): OpenItem[] {
  let bytes = 0;
  const end = items.findIndex(({ sizeBytes }, index) => (bytes += sizeBytes) > maxBytes && index > 0);
  return end === -1 ? items : items.slice(0, end);
}

function pathsOf(rootDirectory: string, token: string): { reportPath: string; overPath: string } {
  const directory = batchDirectory(rootDirectory, token);
  return { reportPath: `${directory}/report`, overPath: `${directory}/over` };
}

function whenAborted(signal: AbortSignal): Promise<null> {
  if (signal.aborted) return Promise.resolve(null);
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(null), { once: true }));
}

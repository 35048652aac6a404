/**
 * This machine behind the executor's methods. Each task is a process that leads a session of its own, writes to files and
 * needs nothing of the server, so it survives a restart and is found again: by `pid.startTicks`, or by the owner file of
 * its start guard when the server ended before it could write that down. Whatever must outlast the server is in files.
 */
import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { availableParallelism, hostname, totalmem } from 'node:os';
import { dirname } from 'node:path';
import { parseExitRecord, type ExitRecord } from '../../domain/attempt-change.ts';
import { batchDirectory, batchScriptPath, exitRecordPath, localLogPaths, localMarkPath, ownerPath, type LocalMark } from '../../domain/layout.ts';
import { parseGuardOwner } from '../../domain/start-guard.ts';
import { SubmitError, type ClusterDescription, type Executor, type Observation, type ObservationReport, type Submitted, type SubmittedBatch, type TrackedAttempt } from '../executor.ts';
import type { Transport } from '../transport.ts';
import { commandLineOf, identifyChild, isAnyOfJob, listProcesses, parseProcessId, peakResidentBytes, processId, type ProcessRow } from './process.ts';

/** How long a process may take to end after TERM before its group is killed; SLURM's KillWait is 30 s. */
const KILL_AFTER_MS = 10_000;
/** Nothing of the server's own settings, and nothing of a SLURM job that the server may run in, belongs in a job's environment. */
const OWN_VARIABLES = /^(EXPGRAPH_.*|SLURM_.*|SBATCH_.*|DATABASE_URL|PGPASSWORD)$/;

/** @param rootDirectory absolute; job directories and logs lie below it */
export function openLocalExecutor(rootDirectory: string, transport: Transport): Executor {
  return new LocalExecutor(rootDirectory, transport);
}

class LocalExecutor implements Executor {
  readonly #root: string;
  readonly #transport: Transport;
  /** The most memory seen, by id; a restart of the server forgets what was before. */
  readonly #peakBytes = new Map<string, number>();
  #runningCount = 0;

  constructor(rootDirectory: string, transport: Transport) {
    this.#root = rootDirectory;
    this.#transport = transport;
  }

  async submit(batch: SubmittedBatch, script: string): Promise<Submitted> {
    const scriptPath = batchScriptPath(this.#root, batch.token);
    try {
      await this.#transport.put(scriptPath, Buffer.from(script));
    } catch (error) {
      throw new SubmitError('transient', `cannot write ${scriptPath}: ${(error as Error).message}`, null, { cause: error });
    }
    const ids: string[] = [];
    for (const taskIndex of batch.tasks.keys()) {
      try {
        ids.push(await this.#start(batch.token, scriptPath, taskIndex));
      } catch (error) {
        // Tasks that were started before this one run on and are found by their owner files.
        throw new SubmitError(ids.length === 0 ? 'transient' : 'ambiguous', `cannot start bash ${scriptPath}: ${(error as Error).message}`, null, { cause: error });
      }
    }
    return { slurmJobId: null, taskSlurmJobIds: ids, answer: ids.join('\n') };
  }

  #start(token: string, scriptPath: string, taskIndex: number): Promise<string> {
    const directory = batchDirectory(this.#root, token);
    const logs = localLogPaths(directory, taskIndex);
    const environment = Object.fromEntries(Object.entries(process.env).filter(([name]) => !OWN_VARIABLES.test(name)));
    const files = [openSync(logs.stdout, 'a'), openSync(logs.stderr, 'a')] as const;
    try {
      const child = spawn('bash', [scriptPath], {
        cwd: directory, detached: true, stdio: ['ignore', ...files], env: { ...environment, EXPGRAPH_TASK_INDEX: String(taskIndex) },
      });
      if (child.pid !== undefined) {
        child.unref();
        return Promise.resolve(identifyChild(child.pid));
      }
      return new Promise((_, reject) => child.once('error', reject));
    } finally {
      files.forEach((file) => closeSync(file));
    }
  }

  async observe(attempts: TrackedAttempt[]): Promise<ObservationReport> {
    const processes = await listProcesses();
    const observations = await Promise.all(attempts.map((attempt) => this.#observeOne(attempt, processes)));
    const report = { observations: observations.filter((observation) => observation !== null), strangers: [], queueCounts: null, problems: [] };
    this.#runningCount = report.observations.filter(({ state }) => state === 'RUNNING').length;
    return report;
  }

  async #observeOne(attempt: TrackedAttempt, processes: Map<number, ProcessRow>): Promise<Observation | null> {
    const id = attempt.slurmJobId ?? await this.#findByOwner(attempt, processes);
    const identity = id === null ? null : parseProcessId(id);
    if (id === null || identity === null) return null;
    const startedAt = await modifiedAt(ownerPath(attempt.jobDirectory, attempt.attemptNumber));
    const alive = processes.get(identity.pid)?.startTicks === identity.startTicks;
    const groupPids = [...processes.values()].filter(({ groupId }) => groupId === identity.pid).map(({ pid }) => pid);
    if (alive) {
      await this.#enforceEnd(id, identity.pid, attempt, startedAt);
      this.#peakBytes.set(id, Math.max(this.#peakBytes.get(id) ?? 0, await peakResidentBytes(groupPids) ?? 0));
    } else if (groupPids.length > 0 && !processes.has(identity.pid) && await isAnyOfJob(groupPids, attempt.jobDirectory)) {
      // The leader is gone and its pid not given again while the group lives, so these are what the job left behind.
      signalGroup(identity.pid, 'SIGKILL');
    }
    const seen = {
      token: attempt.token, taskIndex: attempt.taskIndex, slurmJobId: id, nodeList: hostname(),
      maxRssBytes: this.#peakBytes.get(id) || null, estimatedStartAt: null, earlierRuns: [],
    };
    if (alive) return { ...seen, state: 'RUNNING', reason: null, exitCode: null, signal: null, startedAt, finishedAt: null, elapsedSeconds: null };
    return { ...seen, ...await this.#readEnd(id, attempt, startedAt) };
  }

  /** The process was dead before this is read, and a script writes its record before it ends: no record now is none ever. */
  async #readEnd(id: string, attempt: TrackedAttempt, guardTakenAt: Date | null): Promise<Omit<Observation, 'token' | 'taskIndex' | 'slurmJobId' | 'nodeList' | 'maxRssBytes' | 'estimatedStartAt' | 'earlierRuns'>> {
    const [text, cancelledAt, timedOutAt] = await Promise.all([
      readFile(exitRecordPath(attempt.jobDirectory, attempt.attemptNumber), 'utf8').catch(() => ''),
      modifiedAt(localMarkPath(this.#root, id, 'cancelled')), modifiedAt(localMarkPath(this.#root, id, 'timed-out')),
    ]);
    const record = parseExitRecord(text);
    const startedAt = record?.startedAt ?? guardTakenAt;
    const finishedAt = record?.finishedAt ?? null;
    return {
      ...endOf(record, { cancelled: cancelledAt !== null, timedOut: timedOutAt !== null }),
      exitCode: record?.exitCode ?? null, signal: record?.signal ?? null, startedAt, finishedAt,
      elapsedSeconds: startedAt === null || finishedAt === null ? null : (finishedAt.getTime() - startedAt.getTime()) / 1000,
    };
  }

  /** Ends a process that has run for too long, and one that did not end after it was asked to. */
  async #enforceEnd(id: string, pid: number, { timeLimitMinutes }: TrackedAttempt, startedAt: Date | null): Promise<void> {
    const askedAt = await modifiedAt(localMarkPath(this.#root, id, 'timed-out')) ?? await modifiedAt(localMarkPath(this.#root, id, 'cancelled'));
    if (askedAt !== null) {
      if (Date.now() - askedAt.getTime() > KILL_AFTER_MS) signalGroup(pid, 'SIGKILL');
    } else if (timeLimitMinutes !== null && startedAt !== null && Date.now() - startedAt.getTime() > timeLimitMinutes * 60_000) {
      await this.#end(id, pid, 'timed-out');
    }
  }

  /** Only the script is signalled: it passes TERM on to the command, so that this comes once, and then to whatever is left. */
  async #end(id: string, pid: number, mark: LocalMark): Promise<void> {
    const path = localMarkPath(this.#root, id, mark);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, '', { flag: 'a' });
    signal(pid, 'SIGTERM');
  }

  /** The attempt's process by the owner file of its start guard; null when it never took the guard. */
  async #findByOwner({ token, jobDirectory, attemptNumber }: TrackedAttempt, processes: Map<number, ProcessRow>): Promise<string | null> {
    const owner = await readFile(ownerPath(jobDirectory, attemptNumber), 'utf8').catch(() => '');
    const pid = parseGuardOwner(owner)?.pid ?? null;
    if (pid === null) return null;
    const row = processes.get(pid);
    const isScript = row !== undefined && (await commandLineOf(pid)).includes(batchScriptPath(this.#root, token));
    return processId(pid, isScript ? row.startTicks : 0);
  }

  async cancel(slurmJobIds: string[]): Promise<void> {
    const processes = await listProcesses();
    for (const id of slurmJobIds) {
      const identity = parseProcessId(id);
      const alive = identity !== null && processes.get(identity.pid)?.startTicks === identity.startTicks;
      const asked = await modifiedAt(localMarkPath(this.#root, id, 'cancelled'));
      if (alive && asked === null) await this.#end(id, identity.pid, 'cancelled');
    }
  }

  /** Nothing waits here: a process runs from the moment it is submitted. */
  async cancelWaiting(): Promise<void> {}

  async setHeld(): Promise<void> {}

  async findByName(): Promise<null> {
    return null;
  }

  async readScript(): Promise<{ problem: string }> {
    return { problem: 'the local machine keeps no scripts of jobs that it does not know' };
  }

  async describe(): Promise<ClusterDescription> {
    const cpuCount = availableParallelism();
    return {
      partitions: [{
        name: 'local', isDefault: true, availability: 'up', timeLimitMinutes: null, nodeCount: 1, idleNodeCount: this.#runningCount === 0 ? 1 : 0,
        cpuCount, idleCpuCount: Math.max(0, cpuCount - this.#runningCount), memoryMiBPerNode: Math.floor(totalmem() / 1024 ** 2), gpus: [],
      }],
      pendingJobCount: 0, runningJobCount: this.#runningCount, maxArraySize: null, maxJobCount: null, schedulerVersion: null, hasAccounting: null, jobsAhead: new Map(),
    };
  }

  async limits(): Promise<null> {
    return null;
  }
}

function endOf(record: ExitRecord | null, { cancelled, timedOut }: { cancelled: boolean; timedOut: boolean }): Pick<Observation, 'state' | 'reason'> {
  if (timedOut) return { state: 'TIMEOUT', reason: null };
  if (cancelled) return { state: 'CANCELLED', reason: null };
  if (record === null) return { state: 'FAILED', reason: 'the process ended without an exit record' };
  return { state: record.exitCode === 0 ? 'COMPLETED' : 'FAILED', reason: null };
}

async function modifiedAt(path: string): Promise<Date | null> {
  return stat(path).then(({ mtime }) => mtime, () => null);
}

function signalGroup(leaderPid: number, name: NodeJS.Signals): void {
  signal(-leaderPid, name);
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    // It ended between the look and the signal.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/**
 * Where everything lies on a cluster: every remote file name of the product is made here.
 *
 *   <root>/<project>/<experiment>/<jobId>/            job directory
 *     config.json metrics.jsonl events.jsonl checkpoints.jsonl result.json error.txt checkpoints/ artifacts/
 *     logs/attempt-<n>.out|.err                       links to the batch's log files
 *     attempts/<n>/started/owner                      start guard: who runs this attempt; after the r-th requeue of a
 *                                                     job that was submitted as attempt n this is attempts/<n+r>
 *     attempts/<n>/resume                             of a run after a requeue: path of the checkpoint to go on from
 *     attempts/<n>/exit.json                          exit record, written last
 *     attempts/<n>/refused-<slurmJobId>.json          left by an execution that found the guard taken and ran nothing
 *   <root>/.expgraph/batches/<token>/                 logs of a batch; on the local executor its script.sh, too
 *   <root>/.expgraph/local/<id>.cancelled|.timed-out  on the local executor: what it did to a process
 */
import { slug } from './slug.ts';

export const CONFIG_FILE = 'config.json';
export const METRICS_FILE = 'metrics.jsonl';
export const EVENTS_FILE = 'events.jsonl';
export const RESULT_FILE = 'result.json';
export const ERROR_FILE = 'error.txt';
export const CHECKPOINT_LINES_FILE = 'checkpoints.jsonl';
export const CHECKPOINTS_DIRECTORY = 'checkpoints';
export const ARTIFACTS_DIRECTORY = 'artifacts';
export const ATTEMPTS_DIRECTORY = 'attempts';
export const EXIT_RECORD_FILE = 'exit.json';
const RESUME_FILE = 'resume';
export const START_GUARD_DIRECTORY = 'started';
export const OWNER_FILE = 'owner';

/** The directory of one job. Project and experiment are slugged; the id keeps two alike apart. */
export function jobDirectory(rootDirectory: string, project: string, experiment: string, jobId: string): string {
  return `${withoutTrailingSlash(rootDirectory)}/${slug(project)}/${slug(experiment)}/${jobId}`;
}

export function configPath(job: string): string {
  return `${job}/${CONFIG_FILE}`;
}

export function metricsPath(job: string): string {
  return `${job}/${METRICS_FILE}`;
}

export function eventsPath(job: string): string {
  return `${job}/${EVENTS_FILE}`;
}

export function resultPath(job: string): string {
  return `${job}/${RESULT_FILE}`;
}

export function errorPath(job: string): string {
  return `${job}/${ERROR_FILE}`;
}

/** What the job says of its checkpoints. */
export function checkpointLinesPath(job: string): string {
  return `${job}/${CHECKPOINT_LINES_FILE}`;
}

export function checkpointsDirectory(job: string): string {
  return `${job}/${CHECKPOINTS_DIRECTORY}`;
}

export function artifactsDirectory(job: string): string {
  return `${job}/${ARTIFACTS_DIRECTORY}`;
}

export function attemptDirectory(job: string, attemptNumber: number): string {
  return `${job}/${ATTEMPTS_DIRECTORY}/${attemptNumber}`;
}

/** The record of how an attempt ended. */
export function exitRecordPath(job: string, attemptNumber: number): string {
  return `${attemptDirectory(job, attemptNumber)}/${EXIT_RECORD_FILE}`;
}

/** Written by the server before a requeued run starts: the path of the last complete checkpoint. */
export function resumePath(job: string, attemptNumber: number): string {
  return `${attemptDirectory(job, attemptNumber)}/${RESUME_FILE}`;
}

/** Put in place, owner and all, with one `rename` by the execution that runs the attempt; a second one finds it taken. */
export function startGuardDirectory(job: string, attemptNumber: number): string {
  return `${attemptDirectory(job, attemptNumber)}/${START_GUARD_DIRECTORY}`;
}

/** Who holds the guard; see `parseGuardOwner`. */
export function ownerPath(job: string, attemptNumber: number): string {
  return `${startGuardDirectory(job, attemptNumber)}/${OWNER_FILE}`;
}

const REFUSAL_FILE = /^refused-(.+)\.json$/;

/** The id of the execution that was refused the guard of the attempt and left this file; null for any other path. */
export function refusedIn(job: string, attemptNumber: number, path: string): string | null {
  const directory = `${attemptDirectory(job, attemptNumber)}/`;
  return path.startsWith(directory) ? REFUSAL_FILE.exec(path.slice(directory.length))?.[1] ?? null : null;
}

export function batchDirectory(rootDirectory: string, token: string): string {
  return `${withoutTrailingSlash(rootDirectory)}/.expgraph/batches/${token}`;
}

/** What the local executor did to a process, which its exit record cannot tell. */
export type LocalMark = 'cancelled' | 'timed-out';

/** An empty file; its time is when the process was asked to end. */
export function localMarkPath(rootDirectory: string, processId: string, mark: LocalMark): string {
  return `${withoutTrailingSlash(rootDirectory)}/.expgraph/local/${processId}.${mark}`;
}

/** The script of a batch on the local executor. */
export function batchScriptPath(rootDirectory: string, token: string): string {
  return `${batchDirectory(rootDirectory, token)}/script.sh`;
}

export interface LogPaths {
  stdout: string;
  stderr: string;
}

/** The log files of a batch as SLURM's `--output` and `--error` patterns; a `%` of the root directory is doubled. */
export function batchLogPaths(rootDirectory: string, token: string, { array }: { array: boolean }): LogPaths {
  const directory = batchDirectory(rootDirectory, token).replaceAll('%', '%%');
  return logPair(`${directory}/${array ? '%A_%a' : '%j'}`);
}

/** The log files of one attempt. A local id (`pid.startTicks`) is not in the name: those are named by task index. */
export function attemptLogPaths(rootDirectory: string, token: string, slurmJobId: string, taskIndex: number): LogPaths {
  const directory = batchDirectory(rootDirectory, token);
  return slurmJobId.includes('.') ? localLogPaths(directory, taskIndex) : logPair(`${directory}/${slurmJobId}`);
}

/** The log files of one task on the local executor. */
export function localLogPaths(batch: string, taskIndex: number): LogPaths {
  return logPair(`${batch}/task-${taskIndex}`);
}

function logPair(stem: string): LogPaths {
  return { stdout: `${stem}.out`, stderr: `${stem}.err` };
}

function withoutTrailingSlash(path: string): string {
  return path.replace(/\/+$/, '');
}

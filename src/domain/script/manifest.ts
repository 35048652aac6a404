/**
 * What a batch script says about itself, in comments at its top: enough to bring its jobs back into a database that does not know
 * them. Each configuration stands in the script already, as the assignment that writes config.json; it is found there and proved by the job's
 * fingerprint, so that nothing large is said twice and no value can pass for another.
 *
 *   # expgraph-batch {"experiment":...,"project":...,"resources":{...},"rootDirectory":...,"version":1,"identities":[{"command":[...],...}]}
 *   # expgraph-task {"jobId":...,"name":...,"attempt":1,"identity":0,"fingerprint":...}          one a task, in task order
 */
import type { BatchSpec, TaskSpec } from '../batch.ts';
import { isJsonObject } from '../config-values.ts';
import { canonicalJson, fingerprint } from '../fingerprint.ts';
import { PRIORITY_DEFAULT, type JobIdentity, type Json, type JsonObject, type Resources } from '../job-spec.ts';
import { jobDirectory } from '../layout.ts';

const VERSION = 1;
const BATCH_MARK = '# expgraph-batch ';
const TASK_MARK = '# expgraph-task ';
/** How the script assigns a configuration; JSON has no character that ends a line, so one line holds it. */
export const CONFIG_START = `  expgraph_config='`;
/** As long as any. */
const SAMPLE_FINGERPRINT = '0'.repeat(64);

/** An identity without the configuration: most jobs of a batch share one. */
type SharedIdentity = Omit<JobIdentity, 'config'>;

/** A job as its script tells of it. */
export interface ManifestTask {
  jobId: string;
  name: string;
  /** Of the run that was submitted; each requeue counts one on. */
  attemptNumber: number;
  jobDirectory: string;
  identity: JobIdentity;
  fingerprint: string;
  tags: string[];
  priority: number;
}

export interface Manifest {
  project: string;
  experiment: string;
  rootDirectory: string;
  resources: Resources;
  /** In the order of their array indexes. */
  tasks: ManifestTask[];
}

/** The comment lines of a batch. */
export function renderManifest(batch: BatchSpec): string {
  const [{ project, experiment } = { project: '', experiment: '' }] = batch.tasks;
  const { rootDirectory, resources } = batch;
  const places = new Map<string, number>();
  const lines = batch.tasks.map((task) => {
    const shared = sharedText(task);
    const place = places.get(shared) ?? places.size;
    places.set(shared, place);
    return taskLine(task, rootDirectory, place, fingerprint(task.identity));
  });
  // Canonical: a dry run renders the very text that is submitted, though the database gives keys back in an order of its own.
  const head = canonicalJson({ version: VERSION, project, experiment, rootDirectory, resources: { ...resources } });
  return `${BATCH_MARK}${head.slice(0, -1)},"identities":[${[...places.keys()].join(',')}]}\n${lines.join('')}`;
}

/** Most bytes that a task adds to the manifest of its batch. */
export function manifestTaskBytes(task: TaskSpec): number {
  return Buffer.byteLength(taskLine(task, '', 0, SAMPLE_FINGERPRINT)) + Buffer.byteLength(sharedText(task));
}

function taskLine(task: TaskSpec, rootDirectory: string, identity: number, taskFingerprint: string): string {
  const { jobId, jobName, attemptNumber, tags, priority, project, experiment } = task;
  const isUsualPlace = task.jobDirectory === jobDirectory(rootDirectory, project, experiment, jobId);
  return `${TASK_MARK}${JSON.stringify({
    jobId, name: jobName, attempt: attemptNumber, identity, fingerprint: taskFingerprint,
    ...(isUsualPlace ? {} : { directory: task.jobDirectory }),
    ...(tags.length === 0 ? {} : { tags }),
    ...(priority === PRIORITY_DEFAULT ? {} : { priority }),
  })}\n`;
}

function sharedText({ identity: { config: _, ...shared } }: TaskSpec): string {
  return canonicalJson({ ...shared satisfies SharedIdentity });
}

/** What a script says about itself, or why that cannot be read, in words. */
export function readManifest(script: string): Manifest | { problem: string } {
  // Not by patterns of many lines: those take other characters for ends of lines, too.
  const scriptLines = script.split('\n');
  const header = scriptLines.slice(0, scriptLines.findIndex((line) => !line.startsWith('#')));
  const head = markedValues(header, BATCH_MARK)[0];
  if (head === undefined) return { problem: 'its script does not say which jobs it runs: it is not one of ours, or of an older version' };
  if (head['version'] !== VERSION) return { problem: `its script is written in form ${JSON.stringify(head['version'])}, which this version cannot read` };
  const batch = readHead(head);
  const lines = markedValues(header, TASK_MARK);
  if (batch === null || lines.length === 0) return { problem: 'what its script says about its jobs is damaged' };
  const { identities, ...rest } = batch;
  const configs = configsIn(scriptLines);
  const tasks: ManifestTask[] = [];
  for (const line of lines) {
    const task = readTask(line, rest, identities, configs);
    if (task === null) return { problem: `what its script says about job ${JSON.stringify(line['name'] ?? line['jobId'] ?? tasks.length)} is damaged` };
    tasks.push(task);
  }
  return { ...rest, tasks };
}

function markedValues(header: string[], mark: string): JsonObject[] {
  return header.filter((line) => line.startsWith(mark)).map((line) => parsed(line.slice(mark.length)) ?? {});
}

function parsed(text: string): JsonObject | null {
  try {
    const value: unknown = JSON.parse(text);
    return isJsonObject(value) ? value : null;
  } catch {
    return null;
  }
}

type Head = Omit<Manifest, 'tasks'> & { identities: SharedIdentity[] };

function readHead({ project, experiment, rootDirectory, resources, identities }: JsonObject): Head | null {
  if (!isText(project) || !isText(experiment) || !isText(rootDirectory) || !isResources(resources)) return null;
  if (!Array.isArray(identities) || !identities.every(isSharedIdentity)) return null;
  return { project, experiment, rootDirectory, resources, identities };
}

/** Takes the configuration out of the front part of `configs`: tasks stand in the same order there. */
function readTask(line: JsonObject, { rootDirectory, project, experiment }: Omit<Manifest, 'tasks'>, identities: SharedIdentity[], configs: Iterator<JsonObject>): ManifestTask | null {
  const { jobId, name, attempt, identity, fingerprint: expected, directory, tags = [], priority = PRIORITY_DEFAULT } = line;
  const shared = typeof identity === 'number' ? identities[identity] : undefined;
  if (!isText(jobId) || !isText(name) || !isWhole(attempt) || attempt < 1 || shared === undefined || !isTexts(tags) || !isWhole(priority)) return null;
  const place = directory ?? jobDirectory(rootDirectory, project, experiment, jobId);
  if (!isText(place)) return null;
  for (let next = configs.next(); next.done !== true; next = configs.next()) {
    const whole = { ...shared, config: next.value };
    if (fingerprint(whole) !== expected) continue;
    return { jobId, name, attemptNumber: attempt, jobDirectory: place, identity: whole, fingerprint: expected, tags, priority };
  }
  return null;
}

/** Every line that looks like the assignment of a configuration; a value of somebody's may look so, too. */
function* configsIn(scriptLines: string[]): Generator<JsonObject> {
  for (const line of scriptLines) {
    if (!line.startsWith(CONFIG_START) || !line.endsWith(`'`)) continue;
    const config = parsed(line.slice(CONFIG_START.length, -1).replaceAll(`'\\''`, `'`));
    if (config !== null) yield config;
  }
}

function isText(value: Json | undefined): value is string {
  return typeof value === 'string' && value !== '';
}

function isTexts(value: Json | undefined): value is string[] {
  return Array.isArray(value) && value.every((each) => typeof each === 'string');
}

function isWhole(value: Json | undefined): value is number {
  return typeof value === 'number' && Number.isInteger(value);
}

function isTextOrNull(value: Json | undefined): value is string | null {
  return value === null || typeof value === 'string';
}

function isTextMap(value: Json | undefined): value is Record<string, string> {
  return isJsonObject(value) && Object.values(value).every((each) => typeof each === 'string');
}

function isSharedIdentity(value: Json): value is JsonObject & SharedIdentity {
  return isJsonObject(value) && isTexts(value['command']) && isTextMap(value['environment']) && isTextOrNull(value['workingDirectory']) && isTextOrNull(value['codeVersion']);
}

function isResources(value: Json | undefined): value is JsonObject & Resources {
  if (!isJsonObject(value)) return false;
  const { gpus, cpus, nodes, memoryMiB, timeLimitMinutes, gpuType, partition, account, qos, sbatchOptions } = value;
  return [gpus, cpus, nodes].every(isWhole) && [memoryMiB, timeLimitMinutes].every((each) => each === null || isWhole(each))
    && [gpuType, partition, account, qos].every(isTextOrNull) && isTextMap(sbatchOptions);
}

/** Which queued jobs travel together: one `sbatch` call a batch. */
import { randomBytes } from 'node:crypto';
import type { BatchSpec, TaskSpec } from './batch.ts';
import type { ClusterSettings } from './cluster-settings.ts';
import type { Resources } from './job-spec.ts';
import { MAX_SCRIPT_BYTES, taskScriptBytes } from './script/batch-script.ts';
import { slug } from './slug.ts';

/** SLURM's own default for MaxArraySize; larger arrays make one lost answer cost more to look up. */
export const MAX_TASKS_PER_BATCH = 1000;
const TOKEN_RANDOM_LENGTH = 10;
const TOKEN_SLUG_LENGTH = 20;

/** A job that waits in our queue. */
export interface QueuedTask extends TaskSpec {
  resources: Resources;
}

export interface BatchBounds {
  settings: Pick<ClusterSettings, 'rootDirectory' | 'setupScript'>;
  /** SLURM's MaxArraySize: array indexes are 0 to this less 1. Null where there are no arrays to cut. */
  maxArraySize: number | null;
}

/**
 * Groups tasks (highest priority first) of the same experiment and equal resources, cut where an array or a script
 * becomes too large. Order is kept inside a batch, and batches come in the order of their first task. A task that is too
 * large for any script stands in a batch of its own. Throws UserError for values that no script can carry.
 */
export function planBatches(queue: QueuedTask[], { settings, maxArraySize }: BatchBounds): BatchSpec[] {
  const { rootDirectory, setupScript } = settings;
  const maxTasks = Math.max(1, Math.min(maxArraySize ?? MAX_TASKS_PER_BATCH, MAX_TASKS_PER_BATCH));
  const open = new Map<string, { batch: BatchSpec; bytes: number }>();
  const batches: BatchSpec[] = [];
  for (const task of queue) {
    const { resources } = task;
    const key = JSON.stringify([task.project, task.experiment, sorted(resources)]);
    const bytes = taskScriptBytes(task);
    let current = open.get(key);
    if (current === undefined || current.batch.tasks.length >= maxTasks || current.bytes + bytes > MAX_SCRIPT_BYTES) {
      current = { batch: { token: newBatchToken(task.experiment), rootDirectory, resources, setupScript, tasks: [] }, bytes: 0 };
      open.set(key, current);
      batches.push(current.batch);
    }
    current.batch.tasks.push(task);
    current.bytes += bytes;
  }
  return batches;
}

/** A name that no other submission has: it is the SLURM job name, and what a lost submission is looked up by. */
function newBatchToken(experiment: string): string {
  const alphabet = 'abcdefghijklmnopqrstuvwxyz234567';
  const random = Array.from(randomBytes(TOKEN_RANDOM_LENGTH), (byte) => alphabet[byte % alphabet.length]).join('');
  return `eg-${random}-${slug(experiment, TOKEN_SLUG_LENGTH)}`;
}

const BATCH_TOKEN = new RegExp(`^eg-[a-z2-7]{${TOKEN_RANDOM_LENGTH}}-[A-Za-z0-9._-]{1,${TOKEN_SLUG_LENGTH}}$`);

/** Whether a SLURM job name has the form of our tokens. */
export function isBatchToken(jobName: string): boolean {
  return BATCH_TOKEN.test(jobName);
}

/** Equal resources must give equal text, whatever order their keys were stored in. */
function sorted(resources: Resources): unknown {
  return Object.entries({ ...resources, sbatchOptions: Object.entries(resources.sbatchOptions).sort() }).sort(([a], [b]) => (a < b ? -1 : 1));
}

/** Brings a submission that only its cluster knows into the database, from what its script says about itself. */
import type { Cluster } from '../cluster/executor.ts';
import type { Database } from '../db/database.ts';
import type { OrphanRow } from '../db/read/orphans.ts';
import { isUuid } from '../db/read/uuid.ts';
import { transact } from '../db/transaction.ts';
import { lockKnownJobs, recordAdoption } from '../db/write/adoptions.ts';
import { appendEvents } from '../db/write/events.ts';
import { deleteOrphans } from '../db/write/orphans.ts';
import { planAdoption } from '../domain/adoption.ts';
import { ATTEMPTS_DIRECTORY, attemptLogPaths, ownerPath } from '../domain/layout.ts';
import { readManifest, type Manifest } from '../domain/script/manifest.ts';

/** Requeues of all tasks of an array, many times over. */
const MAX_ENTRIES = 100_000;
const OWNER_MAX_BYTES = 200;

/** What the script of an unknown job says about itself, or why that cannot be had. */
export async function readOrigin(cluster: Cluster, slurmJobId: string): Promise<{ manifest: Manifest; script: string } | { problem: string }> {
  const answer = await cluster.executor.readScript(slurmJobId);
  if ('problem' in answer) return { problem: `its script cannot be read: ${answer.problem}` };
  const manifest = readManifest(answer.script);
  if ('problem' in manifest) return manifest;
  return manifest.tasks.every(({ jobId }) => isUuid(jobId)) ? { manifest, script: answer.script } : { problem: 'its script names jobs by what is no id of ours' };
}

/** Answers why nothing was adopted, or null. The orphan is gone then. */
export async function adoptOrphan({ database, cluster }: { database: Database; cluster: Cluster }, orphan: OrphanRow): Promise<string | null> {
  const slurmJobId = orphan.slurmJobId ?? '';
  const origin = await readOrigin(cluster, slurmJobId);
  if ('problem' in origin) return origin.problem;
  const { manifest, script } = origin;
  const taskIds = manifest.tasks.map((_, index) => (manifest.tasks.length === 1 ? slurmJobId : `${slurmJobId}_${index}`));
  const restarts = await readRestarts(cluster, manifest, taskIds);
  const { name } = cluster.settings;
  return transact(database, async (transaction) => {
    const { adopted, skipped } = planAdoption(name, manifest, restarts, await lockKnownJobs(transaction, manifest.tasks.map(({ jobId }) => jobId)));
    const [first] = skipped;
    if (adopted.length === 0 && first !== undefined) return `the database is ahead of it: of job ${first.jobId}, ${first.reason}`;
    const attempts = adopted.map((task) => {
      const id = taskIds[task.taskIndex]!;
      const { stdout, stderr } = attemptLogPaths(manifest.rootDirectory, orphan.token, id, task.taskIndex);
      return { ...task, slurmJobId: id, stdoutPath: stdout, stderrPath: stderr };
    });
    const batch = { cluster: name, token: orphan.token, slurmJobId, script, submittedAt: orphan.submittedAt, adoptedBy: orphan.wishedBy ?? 'unknown' };
    const events = await recordAdoption(transaction, batch, manifest, attempts);
    await deleteOrphans(transaction, [orphan.id]);
    await appendEvents(transaction, events ?? []);
    return null;
  });
}

/** How often each task was put back into the queue, as its start guards tell: each run has one of its own, which its SLURM id holds. */
async function readRestarts({ transport }: Cluster, { tasks }: Manifest, taskIds: string[]): Promise<number[]> {
  const places = new Map(tasks.map((task, index) => [`${task.jobDirectory}/${ATTEMPTS_DIRECTORY}`, index]));
  const { entries } = await transport.list({ directories: [...places.keys()], maxDepth: 1, maxEntries: MAX_ENTRIES });
  const later = entries.flatMap(({ path }) => {
    const slash = path.lastIndexOf('/');
    const index = places.get(path.slice(0, slash));
    const restart = index === undefined ? 0 : Number(path.slice(slash + 1)) - tasks[index]!.attemptNumber;
    return index !== undefined && restart > 0 ? [{ index, restart }] : [];
  });
  const owners = await transport.read(later.map(({ index, restart }) => (
    { path: ownerPath(tasks[index]!.jobDirectory, tasks[index]!.attemptNumber + restart), offsetBytes: 0, maxBytes: OWNER_MAX_BYTES })));
  const restarts = tasks.map(() => 0);
  for (const [place, { index, restart }] of later.entries()) {
    const [holder] = owners[place]?.toString('utf8').split('\n') ?? [];
    if (holder === `slurm ${taskIds[index]}`) restarts[index] = Math.max(restarts[index] ?? 0, restart);
  }
  return restarts;
}

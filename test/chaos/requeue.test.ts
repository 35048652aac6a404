/** A job that SLURM puts back into its queue goes on as a new attempt under the same id. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { ensureRig, rigUnavailableReason, startRequeued, type Rig } from '../rig/rig.ts';
import { openRigSite, type RigSite } from './rig-site.ts';

describe.skipIf(rigUnavailableReason() !== null)('a requeued job', () => {
  let rig: Rig;
  let site: RigSite;
  beforeAll(async () => { rig = await ensureRig(); }, 180_000);
  beforeEach(async () => { site = await openRigSite(rig, 'alpha'); });
  afterEach(async () => { await site.close(); }, 60_000);

  /** Runs until it is told to stop: by the file `go`, which a test makes. */
  const UNTIL_GO = (root: string): string => `while [ ! -e ${root}/go ]; do sleep 0.2; done`;

  async function untilJob(jobId: string, state: string, attempt: number): Promise<void> {
    await vi.waitFor(async () => {
      const { rows: [row] } = await site.db.pool.query('select state, attempt_count from jobs where id = $1', [jobId]);
      expect(row).toEqual({ state, attempt_count: attempt });
    }, { timeout: 120_000, interval: 100 });
  }

  const executed = async (count: number): Promise<void> => { await vi.waitFor(async () => expect(await site.executions()).toHaveLength(count), { timeout: 60_000, interval: 100 }); };

  async function requeueAndRelease(slurmJobId: string): Promise<void> {
    await site.slurm('scontrol', 'requeue', slurmJobId);
    await startRequeued(site.slurm, slurmJobId);
  }

  test('while the server watches: the first attempt is closed as requeued, the second ends the job', async () => {
    const [jobId] = await site.submit('requeued', UNTIL_GO(site.root), 1) as [string];
    site.start();
    await untilJob(jobId, 'RUNNING', 1);
    const slurmJobId = (await site.attemptsOf(jobId))[0]!.slurmJobId!;
    await site.slurm('scontrol', 'requeue', slurmJobId);
    await untilJob(jobId, 'PENDING', 2);
    expect(await site.attemptsOf(jobId)).toMatchObject([
      { number: 1, state: 'CANCELLED', reason: 'requeued', slurmJobId }, { number: 2, restart: 1, state: 'PENDING', slurmJobId },
    ]);
    await startRequeued(site.slurm, slurmJobId);
    await untilJob(jobId, 'RUNNING', 2);
    await site.slurm('sh', '-c', `touch ${site.root}/go`);
    await site.untilEnded();
    expect(await site.attemptsOf(jobId)).toMatchObject([{ state: 'CANCELLED' }, { state: 'COMPLETED', exitCode: 0, slurmJobId }]);
    expect(await site.executions()).toEqual([`${jobId} 1`, `${jobId} 2`]);
    const { rows: [job] } = await site.db.pool.query<{ storage_path: string }>('select storage_path from jobs');
    expect(JSON.parse(await readFile(join(job!.storage_path, 'attempts/2/exit.json'), 'utf8'))).toMatchObject({ attempt: 2, restart: 1, exitCode: 0 });
    const { rows: events } = await site.db.pool.query<{ from: string; to: string }>("select payload->>'from' as from, payload->>'to' as to from events where kind = 'JOB_STATE_CHANGED' and job_id = $1 order by seq", [jobId]);
    expect(events.map(({ to }) => to)).toEqual(['QUEUED', 'SUBMITTING', 'PENDING', 'RUNNING', 'PENDING', 'RUNNING', 'COMPLETED']);
  }, 150_000);

  test('long after it failed by itself: that attempt stays FAILED with its exit code, and a new one runs', async () => {
    const [jobId] = await site.submit('failed', `[ "$EXPGRAPH_ATTEMPT" = 2 ] || exit 3; ${UNTIL_GO(site.root)}`, 1) as [string];
    site.start({ ...site.cluster, settings: { ...site.cluster.settings, watch: false } });
    await untilJob(jobId, 'FAILED', 1);
    const slurmJobId = (await site.attemptsOf(jobId))[0]!.slurmJobId!;
    // As long after its end: nothing of it is asked about any more.
    await site.db.pool.query('update jobs set harvested_at = now()');
    await site.slurm('scontrol', 'requeue', slurmJobId);
    await untilJob(jobId, 'PENDING', 2);
    await startRequeued(site.slurm, slurmJobId);
    await untilJob(jobId, 'RUNNING', 2);
    expect(await site.attemptsOf(jobId)).toMatchObject([{ number: 1, state: 'FAILED', reason: 'exit code 3', exitCode: 3 }, { number: 2, restart: 1, state: 'RUNNING', slurmJobId }]);
    await site.slurm('sh', '-c', `touch ${site.root}/go`);
    await site.untilEnded();
    expect(await site.attemptsOf(jobId)).toMatchObject([{ state: 'FAILED', exitCode: 3 }, { state: 'COMPLETED', exitCode: 0 }]);
    expect(await site.executions()).toEqual([`${jobId} 1`, `${jobId} 2`]);
  }, 400_000);

  test('while no server runs, twice, in an array: each run is an attempt of its own, told by accounting', async () => {
    const ids = await site.submit('requeued unseen', UNTIL_GO(site.root), 2);
    site.start();
    await Promise.all(ids.map((id) => untilJob(id, 'RUNNING', 1)));
    const slurmJobId = (await site.attemptsOf(ids[0]!))[0]!.slurmJobId!;
    await site.stop();
    for (const runs of [3, 4]) {
      await requeueAndRelease(slurmJobId);
      await executed(runs);
    }
    await site.slurm('sh', '-c', `touch ${site.root}/go`);
    site.start();
    await site.untilEnded();
    expect(await site.attemptsOf(ids[0]!)).toMatchObject([
      { number: 1, state: 'CANCELLED', reason: 'requeued' }, { number: 2, state: 'CANCELLED', reason: 'requeued' }, { number: 3, restart: 2, state: 'COMPLETED', slurmJobId },
    ]);
    expect(await site.attemptsOf(ids[1]!)).toMatchObject([{ number: 1, state: 'COMPLETED' }]);
    expect((await site.executions()).sort()).toEqual([`${ids[0]!} 1`, `${ids[0]!} 2`, `${ids[0]!} 3`, `${ids[1]!} 1`].sort());
  }, 200_000);
});

/** More executions of one attempt than there should be, on a real SLURM: one runs, the others are cancelled or refused, and shown. */
import { afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { ensureRig, rigUnavailableReason, type Rig } from '../rig/rig.ts';
import { openRigSite, type RigSite } from './rig-site.ts';

const DEADLINE = { timeout: 90_000, interval: 200 };

describe.skipIf(rigUnavailableReason() !== null)('a second execution', () => {
  let rig: Rig;
  let site: RigSite;
  beforeAll(async () => { rig = await ensureRig(); }, 180_000);
  beforeEach(async () => { site = await openRigSite(rig, 'alpha'); });
  afterEach(async () => {
    const ids = await queuedIds();
    if (ids.length > 0) await site.slurm('scancel', ...ids);
    await site.close();
  }, 60_000);

  /** Waits until it is released. */
  const HELD = { sbatchOptions: { begin: 'now+1hour' } };
  const release = (slurmJobId: string): Promise<string> => site.slurm('scontrol', 'update', `jobid=${slurmJobId}`, 'StartTime=now');
  const UNTIL_GO = (): string => `while [ ! -e ${site.root}/go ]; do sleep 0.2; done`;
  const go = (): Promise<string> => site.slurm('touch', `${site.root}/go`);

  /** Polls, which sees what waits in the queue sooner than the backstop of the watch does. */
  const startPolling = (): void => site.start({ ...site.cluster, settings: { ...site.cluster.settings, watch: false } });

  /** Base ids of what is in the queue under our tokens. */
  async function queuedIds(): Promise<string[]> {
    const { rows } = await site.db.pool.query<{ token: string }>('select token from batches');
    if (rows.length === 0) return [];
    const listed = await site.slurm('squeue', '-h', '-r', '-t', 'PENDING,RUNNING,COMPLETING', '--name', rows.map(({ token }) => token).join(','), '-o', '%F');
    return [...new Set(listed.split('\n').filter((id) => id !== ''))].sort();
  }

  async function seconds(): Promise<{ slurmJobId: string; reason: string }[]> {
    const { rows } = await site.db.pool.query<{ payload: { slurmJobId: string; reason: string } }>("select payload from events where kind = 'SECOND_EXECUTION' order by seq");
    return rows.map(({ payload }) => payload);
  }

  async function slurmIdOf(jobId: string): Promise<string | null> {
    return (await site.attemptsOf(jobId)).at(-1)?.slurmJobId ?? null;
  }

  const untilJob = (jobId: string, state: string, attempt = 1): Promise<void> => vi.waitFor(async () => {
    const { rows: [row] } = await site.db.pool.query('select state, attempt_count from jobs where id = $1', [jobId]);
    expect(row).toEqual({ state, attempt_count: attempt });
  }, DEADLINE);

  /** Submits one held job whose answer is lost and that comes late; waits until it was submitted again. */
  async function submitAndLose(commands: string, start = () => site.start()): Promise<{ jobId: string; again: string }> {
    site.door.breakNextSbatch('times out, submits when told');
    const [jobId] = await site.submit('late', commands, 1, HELD) as [string];
    start();
    await untilJob(jobId, 'PENDING');
    return { jobId, again: (await slurmIdOf(jobId))! };
  }

  test('that waits beside the first one, an array as a whole, is cancelled, once each, and shown with the job', async () => {
    site.door.breakNextSbatch('submits twice');
    const ids = await site.submit('twice', 'true', 3, HELD);
    startPolling();
    await vi.waitFor(async () => expect(await seconds()).toHaveLength(3), DEADLINE);
    const first = (await slurmIdOf(ids[0]!))!.split('_')[0]!;
    await vi.waitFor(async () => expect(await queuedIds()).toEqual([first]), DEADLINE);
    const { rows: notes } = await site.db.pool.query<{ note: string }>('select note from attempts');
    for (const { note } of notes) expect(note).toMatch(/^SLURM job \d+_\d: cancelled, because it was submitted a second time$/);
    await release(first);
    await site.untilEnded();
    for (const id of ids) expect(await site.attemptsOf(id)).toMatchObject([{ number: 1, state: 'COMPLETED', slurmJobId: expect.stringContaining(`${first}_`) }]);
    expect(await site.executions()).toHaveLength(3);
    expect(await queuedIds()).toEqual([]);
    expect(await seconds()).toHaveLength(3);
  }, 180_000);

  test('that starts along with the first one: each task of the array is run once, by either, and ends as the one that ran it', async () => {
    site.door.breakNextSbatch('submits twice');
    const ids = await site.submit('race', 'sleep 2', 6);
    site.start();
    await site.untilEnded();
    const attempts = (await Promise.all(ids.map((id) => site.attemptsOf(id)))).flat();
    expect(attempts.map(({ state, exitCode }) => ({ state, exitCode }))).toEqual(ids.map(() => ({ state: 'COMPLETED', exitCode: 0 })));
    expect(new Set(await site.executions())).toEqual(new Set(ids.map((id) => `${id} 1`)));
    expect(await site.executions()).toHaveLength(6);
    await vi.waitFor(async () => expect(await queuedIds()).toEqual([]), DEADLINE);
    await vi.waitFor(async () => {
      const accounted = await site.slurm('sacct', '-n', '-P', '-X', '-j', attempts.map(({ slurmJobId }) => slurmJobId).join(','), '-o', 'State');
      expect(accounted.trim().split('\n')).toEqual(Array(6).fill('COMPLETED'));
    }, DEADLINE);
    await vi.waitFor(async () => expect((await seconds()).length).toBeGreaterThanOrEqual(6), DEADLINE);
  }, 180_000);

  test('that was given up and comes late, while the other waits: it is cancelled and the other runs', async () => {
    const { jobId, again } = await submitAndLose('true', startPolling);
    const late = await site.door.submitLate();
    await vi.waitFor(async () => expect(await seconds()).toMatchObject([{ slurmJobId: late, reason: 'cancelled, because it was submitted a second time' }]), DEADLINE);
    await vi.waitFor(async () => expect(await queuedIds()).toEqual([again]), DEADLINE);
    await release(again);
    await site.untilEnded();
    expect(await site.attemptsOf(jobId)).toMatchObject([{ number: 1, state: 'COMPLETED', slurmJobId: again }]);
    expect(await site.executions()).toEqual([`${jobId} 1`]);
  }, 180_000);

  test('that was given up, comes late and runs first: the attempt follows it, and the other is cancelled', async () => {
    const { jobId, again } = await submitAndLose(UNTIL_GO());
    await site.stop();
    const late = await site.door.submitLate();
    await release(late);
    await vi.waitFor(async () => expect(await site.executions()).toEqual([`${jobId} 1`]), DEADLINE);
    site.start();
    await untilJob(jobId, 'RUNNING');
    await vi.waitFor(async () => expect(await queuedIds()).toEqual([late]), DEADLINE);
    expect(await site.attemptsOf(jobId)).toMatchObject([{ number: 1, state: 'RUNNING', slurmJobId: late }]);
    expect((await seconds()).map(({ slurmJobId }) => slurmJobId)).toContain(again);
    await go();
    await site.untilEnded();
    expect(await site.attemptsOf(jobId)).toMatchObject([{ number: 1, state: 'COMPLETED', slurmJobId: late, exitCode: 0 }]);
    expect(await site.executions()).toEqual([`${jobId} 1`]);
  }, 180_000);

  test('that we know as the attempt and that was refused: the job ends as the one that ran, though that was over before anybody looked', async () => {
    const { jobId, again } = await submitAndLose('exit 3');
    await site.stop();
    const late = await site.door.submitLate();
    await release(late);
    await vi.waitFor(async () => expect(await site.slurm('squeue', '-h', '-t', 'FAILED', '-j', late, '-o', '%T')).toContain('FAILED'), DEADLINE);
    await release(again);
    await vi.waitFor(async () => expect(await site.slurm('sacct', '-n', '-P', '-X', '-j', again, '-o', 'State,ExitCode')).toContain('FAILED|119:0'), DEADLINE);
    site.start();
    await site.untilEnded();
    await vi.waitFor(async () => expect(await site.attemptsOf(jobId)).toMatchObject([{ number: 1, state: 'FAILED', slurmJobId: late, exitCode: 3 }]), DEADLINE);
    expect(await site.executions()).toEqual([`${jobId} 1`]);
    expect(await seconds()).toMatchObject([{ slurmJobId: again, reason: expect.stringContaining(late) }]);
  }, 180_000);

  test('a finished job that is put back into the queue runs as a new attempt, unless it was cancelled or tried again: then it is cancelled and shown', async () => {
    const ids = await site.submit('ended', 'sleep 1', 3) as [string, string, string];
    startPolling();
    await site.untilEnded();
    // As long after its end: nothing of it is asked about any more.
    await site.db.pool.query('update jobs set harvested_at = now()');
    await site.db.pool.query("update jobs set cancel_requested = true, state = 'CANCELLED' where id = $1", [ids[1]]);
    await site.db.pool.query("update jobs set state = 'HELD', finished_at = null where id = $1", [ids[2]]);
    const slurmIds = (await Promise.all(ids.map(slurmIdOf))).map((id) => id!) as [string, string, string];
    for (const id of slurmIds) await site.slurm('scontrol', 'requeue', id);
    await untilJob(ids[0], 'PENDING', 2);
    await vi.waitFor(async () => expect((await seconds()).map(({ slurmJobId }) => slurmJobId).sort()).toEqual(slurmIds.slice(1).sort()), DEADLINE);
    for (const { reason } of await seconds()) expect(reason).toMatch(/^cancelled, because it was put back into the queue, but the job (was cancelled|has been tried again since)$/);
    await vi.waitFor(async () => expect(await site.slurm('squeue', '-h', '-r', '-t', 'PENDING,RUNNING', '-j', slurmIds[0].split('_')[0]!, '-o', '%i')).toBe(`${slurmIds[0]}\n`), DEADLINE);
    await release(slurmIds[0]);
    await untilJob(ids[0], 'COMPLETED', 2);
    expect(await site.attemptsOf(ids[0])).toMatchObject([{ number: 1, state: 'COMPLETED' }, { number: 2, restart: 1, state: 'COMPLETED', slurmJobId: slurmIds[0] }]);
    expect((await site.executions()).sort()).toEqual([...ids.map((id) => `${id} 1`), `${ids[0]} 2`].sort());
  }, 180_000);
});

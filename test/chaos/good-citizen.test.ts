/** What a site allows is kept to, on a real SLURM with real limits; and who does not answer is left alone. */
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import type { Cluster } from '../../src/cluster/executor.ts';
import { ensureRig, rigUnavailableReason, slurm, type Rig } from '../rig/rig.ts';
import { openRigSite, type RigSite } from './rig-site.ts';

/** Runs until the test is over. */
const LONG = 'sleep 600';

describe.skipIf(rigUnavailableReason() !== null)('a good citizen', () => {
  let rig: Rig;
  /** Accounts of this file's own, so that their limits are nobody else's. */
  const limitedTo12 = `limited${randomBytes(3).toString('hex')}`;
  const limitedTo10 = `limited${randomBytes(3).toString('hex')}`;
  const sacctmgr = (...argv: string[]): Promise<string> => slurm(rig, 'alpha', ['sacctmgr', '--immediate', '--quiet', ...argv], { as: 'root' });
  const makeAccount = async (account: string, maxSubmitJobs: number): Promise<void> => {
    await sacctmgr('add', 'account', account, 'Organization=rig');
    await sacctmgr('add', 'user', rig.user, `Account=${account}`);
    await sacctmgr('modify', 'user', rig.user, 'set', `MaxSubmitJobs=${maxSubmitJobs}`, 'where', `account=${account}`);
    // The controller is told of it by the accounting daemon, a moment later.
    await vi.waitFor(async () => expect(await slurm(rig, 'alpha', ['scontrol', 'show', 'assoc_mgr', `users=${rig.user}`, `accounts=${account}`, 'flags=assoc'], { as: 'root' }))
      .toContain(`MaxSubmitJobs=${maxSubmitJobs}(`), { timeout: 30_000, interval: 200 });
  };
  // Accounts are made and removed one after another: the accounting daemon fails at two at once.
  beforeAll(async () => {
    rig = await ensureRig();
    await makeAccount(limitedTo12, 12);
    await makeAccount(limitedTo10, 10);
  }, 180_000);
  afterAll(async () => {
    for (const account of [limitedTo12, limitedTo10]) {
      await vi.waitFor(async () => expect(await slurm(rig, 'alpha', ['squeue', '-h', '-u', rig.user, '-A', account])).toBe(''), { timeout: 60_000, interval: 200 });
      await sacctmgr('delete', 'user', rig.user, `account=${account}`);
      await sacctmgr('delete', 'account', account);
    }
  }, 180_000);

  /** @param account whose jobs are cancelled when the story is over */
  async function withSite(account: string | null, story: (site: RigSite) => Promise<void>): Promise<void> {
    const site = await openRigSite(rig, 'alpha');
    try {
      await story(site);
    } finally {
      await site.stop();
      if (account !== null) await slurm(rig, 'alpha', ['scancel', '-u', rig.user, '-A', account]);
      await site.close();
    }
  }

  /** Submits by hand, as somebody does who knows nothing of expgraph; answers the id. */
  const byHand = async (account: string, count: number): Promise<string> => (await slurm(
    rig, 'alpha', ['sbatch', '--parsable', '--hold', `--array=0-${count - 1}`, '-A', account, '-o', '/dev/null', '--wrap', 'true'])).trim();

  const counts = async ({ db }: RigSite): Promise<Record<string, number>> => {
    const { rows } = await db.pool.query<{ state: string; count: string }>(
      "select case when state in ('PENDING', 'RUNNING') then 'there' else state end as state, count(*) from jobs group by 1");
    return Object.fromEntries(rows.map(({ state, count }) => [state, Number(count)]));
  };
  const until = (site: RigSite, expected: Record<string, number>): Promise<void> => vi.waitFor(async () => expect(await counts(site)).toEqual(expected), { timeout: 60_000, interval: 200 });
  const waits = async ({ db }: RigSite): Promise<{ reason: string; explanation: string }[]> => (await db.pool.query('select queue_waits from clusters')).rows[0]?.queue_waits ?? [];
  const refusals = async ({ db }: RigSite): Promise<number> => Number((await db.pool.query("select count(*) from batches where state = 'ABANDONED'")).rows[0]?.count);

  test.concurrent('MaxSubmitJobs is kept to without one refusal, counting what was submitted by hand; the rest follows as room comes', () => withSite(limitedTo12, async (site) => {
    const hand = await byHand(limitedTo12, 5);
    await site.submit('limited', LONG, 20, { account: limitedTo12 });
    site.start();
    await until(site, { there: 7, QUEUED: 13 });
    await vi.waitFor(async () => expect(await waits(site)).toEqual([expect.objectContaining({
      reason: 'SubmitLimit',
      explanation: `It waits in expgraph's queue: the cluster takes at most 12 submitted jobs of yours (MaxSubmitJobs of account ${limitedTo12}), 12 are there (5 not from expgraph).`,
    })]), { timeout: 30_000, interval: 200 });
    expect(await refusals(site)).toBe(0);
    await slurm(rig, 'alpha', ['scancel', hand]);
    await until(site, { there: 12, QUEUED: 8 });
    expect(await refusals(site)).toBe(0);
  }), 240_000);

  test.concurrent('where accounting does not tell, the limit is found out from refusals, and no job fails', () => withSite(limitedTo10, async (site) => {
    await byHand(limitedTo10, 3);
    await site.submit('unknown limit', LONG, 40, { account: limitedTo10 });
    site.start(withoutSacctmgr(site.cluster));
    await until(site, { there: 7, QUEUED: 33 });
    await vi.waitFor(async () => expect((await waits(site))[0]).toMatchObject({ reason: 'SubmitLimit', explanation: expect.stringContaining('AssocMaxSubmitJobLimit') }), { timeout: 30_000, interval: 200 });
    expect(await refusals(site)).toBeGreaterThan(0);
    // As some end, others take their place.
    const running = async () => (await site.db.pool.query<{ slurm_job_id: string }>("select slurm_job_id from attempts where state = 'RUNNING'")).rows.map(({ slurm_job_id }) => slurm_job_id);
    await vi.waitFor(async () => expect(await running()).toHaveLength(7), { timeout: 60_000, interval: 200 });
    await slurm(rig, 'alpha', ['scancel', ...(await running()).slice(0, 4)]);
    await until(site, { there: 7, CANCELLED: 4, QUEUED: 29 });
  }), 240_000);

  test.concurrent('a machine that does not answer is left alone, which shows, and is used again once it answers', () => withSite(null, async (site) => {
    site.start();
    const breaker = async () => (await site.db.pool.query('select breaker from clusters')).rows[0]?.breaker;
    await vi.waitFor(async () => expect(await breaker()).toMatchObject({ state: 'CLOSED', failureCount: 0 }), { timeout: 30_000 });
    await site.door.slam();
    await vi.waitFor(async () => expect(await breaker()).toMatchObject({ state: 'OPEN', reason: expect.stringContaining('ECONNREFUSED'), nextTryAt: expect.any(String) }), { timeout: 120_000 });
    const [jobId] = await site.submit('after the break', 'true', 1, { account: 'cds' });
    // A loop that failed often waits for up to a minute before it tries again.
    await vi.waitFor(async () => expect((await breaker()).failureCount).toBeGreaterThanOrEqual(6), { timeout: 150_000 });
    await site.door.reopen();
    await vi.waitFor(async () => expect(await breaker()).toMatchObject({ state: 'CLOSED', reason: null, nextTryAt: null }), { timeout: 150_000 });
    await site.untilEnded();
    expect(await site.attemptsOf(jobId!)).toMatchObject([{ number: 1, state: 'COMPLETED' }]);
  }), 500_000);
});

/** The cluster as seen by a user who may not run sacctmgr. */
function withoutSacctmgr(cluster: Cluster): Cluster {
  const { executor } = cluster;
  return { ...cluster, executor: {
    submit: (batch, script) => executor.submit(batch, script), observe: (attempts) => executor.observe(attempts), cancel: (ids) => executor.cancel(ids), cancelWaiting: (ids) => executor.cancelWaiting(ids),
    setHeld: (ids, held) => executor.setHeld(ids, held), findByName: (name) => executor.findByName(name), readScript: (id) => executor.readScript(id), describe: () => executor.describe(), limits: async () => null,
  } };
}

/** The server dies at every named point of its work, once on each kind of cluster; then it is started again. */
import { readFile } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CRASH_POINTS, type CrashPoint } from '../../src/reconcilers/crash-point.ts';
import { ensureBuilt } from '../cli/built.ts';
import { until } from '../rig/processes.ts';
import { testDatabase, type TestDatabase } from '../support/database.ts';
import { SITES } from './crash-sites.ts';
import { expectWholeStory } from './story.ts';
import { openVictim, type Victim } from './victim.ts';

const TERMINAL = ['COMPLETED', 'FAILED', 'CANCELLED', 'LOST'];
const SUBMIT = 'mutation ($input: SubmitSweepInput!) { submitSweep(input: $input) { userErrors { message } } }';

describe.each(SITES)('killed at every named point, on $name', ({ open, unavailable }) => {
  let db: TestDatabase;
  let victim: Victim;
  let executions: string;

  beforeAll(async () => {
    if (unavailable) return;
    await ensureBuilt();
    const site = await open();
    db = await testDatabase();
    victim = await openVictim(db.url, stringify({ clusters: { here: site.config } }));
    executions = join(site.folder(victim), `executions-${randomBytes(4).toString('hex')}`);
  }, 180_000);
  afterAll(async () => {
    await victim?.remove();
    await db?.drop();
  }, 60_000);

  const stateOf = (id: string): string | undefined => victim.events.findLast((event) => event.job.id === id)?.toState;
  /** The answer may be lost with the server: what was done is read from the database. */
  const unanswered = (): undefined => undefined;

  async function submit(name: string, seconds: number): Promise<void> {
    await victim.request(SUBMIT, { input: {
      project: 'tests', experiment: 'crashes', name, command: ['sh', '-c', 'echo "$EXPGRAPH_JOB_ID" >> "$1"; sleep "$2"', 'sh', executions, String(seconds)],
      space: { base: { name }, seeds: { values: [1, 2, 3] } },
    } }).catch(unanswered);
  }

  async function jobsOf(name: string): Promise<string[]> {
    const { rows } = await db.pool.query<{ id: string }>("select id from jobs where config->>'name' like $1", [name]);
    return rows.map(({ id }) => id);
  }

  async function crashAtDispatchOrEnd(point: CrashPoint): Promise<void> {
    await victim.start(point);
    await submit(point, 1);
  }

  async function crashAtCancel(point: CrashPoint): Promise<void> {
    await victim.start();
    await submit(point, 120);
    const ids = await jobsOf(point);
    await until(`the jobs of ${point} to run`, 150_000, () => ids.every((id) => stateOf(id) === 'RUNNING'));
    // Else the wish for an earlier job ends the server before this one's is recorded.
    const earlier = (await jobsOf('%')).filter((id) => !ids.includes(id));
    await until('the earlier jobs to end', 150_000, () => earlier.every((id) => TERMINAL.includes(stateOf(id) ?? '')));
    await victim.kill();
    await victim.start(point);
    await victim.request('mutation ($ids: [ID!]) { cancelJobs(input: { ids: $ids }) { userErrors { message } } }', { ids }).catch(unanswered);
  }

  test.skipIf(unavailable)('each job runs once, ends in the right state, and no event is missing', async () => {
    for (const point of CRASH_POINTS.filter((each) => !/^(?:checkpoints|roll-up)-/.test(each))) {
      await (point.startsWith('cancel') ? crashAtCancel(point) : crashAtDispatchOrEnd(point));
      expect(await victim.died(), point).toBe('SIGKILL');
    }
    await victim.start();
    const all = await jobsOf('%');
    expect(all.length).toBeGreaterThanOrEqual(3 * 3);
    await until('all jobs to end', 180_000, () => all.every((id) => TERMINAL.includes(stateOf(id) ?? '')));
    const cancelled = await jobsOf('cancel%');
    expect(all.map((id) => stateOf(id))).toEqual(all.map((id) => (cancelled.includes(id) ? 'CANCELLED' : 'COMPLETED')));
    expect((await readFile(executions, 'utf8')).trim().split('\n').sort()).toEqual([...all].sort());
    await expectWholeStory(db, victim.events);
  }, 480_000);
});

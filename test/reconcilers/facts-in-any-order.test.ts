/**
 * Facts about a job come pushed and polled, late, repeated, or not at all, and files and scheduler tell at different times. However they come,
 * the same history ends in the same states. All of it goes the real way: files, rounds, database; only the scheduler is played.
 */
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { submitSweep } from '../../src/actions/submit-sweep.ts';
import type { EarlierRun, Observation } from '../../src/cluster/executor.ts';
import { exitRecordPath, ownerPath } from '../../src/domain/layout.ts';
import { isTerminalAttemptState, type AttemptState } from '../../src/domain/states.ts';
import { ListRests } from '../../src/reconcilers/list-rests.ts';
import { observeChanged } from '../../src/reconcilers/observe-changed.ts';
import { smallSweep } from '../support/actions.ts';
import { fakeClusterTest, putFile, silent, type FakeCluster, type FakeClusterTest } from './fake-cluster.ts';

/** How a run ends: as the scheduler says, and as its script wrote down, if it could. */
interface RunEnd {
  state: AttemptState;
  exit: { exitCode: number; terminated: boolean } | null;
  /** Somebody put it back after its end: then the scheduler says no more of it than that. */
  wasOver?: true;
}
const end = (state: AttemptState, ...exits: RunEnd['exit'][]): RunEnd[] => exits.map((exit) => ({ state, exit }));
const well = { exitCode: 0, terminated: false };
const killed = { exitCode: 137, terminated: false };
const told = { exitCode: 143, terminated: true };
/** The last run of a job. */
const LAST_ENDS = [
  ...end('COMPLETED', well), ...end('FAILED', { exitCode: 1, terminated: false }, null), ...end('TIMEOUT', told, { exitCode: 0, terminated: true }, null),
  ...end('CANCELLED', told, null), ...end('OUT_OF_MEMORY', well, killed, null), ...end('NODE_FAIL', well, killed, null),
];
/** A run after which the scheduler put the job back into its queue. */
const REQUEUED_ENDS = [...end('CANCELLED', told, null), ...end('NODE_FAIL', killed, well, null), ...end('PREEMPTED', told, null),
  ...[...end('FAILED', { exitCode: 1, terminated: false }), ...end('COMPLETED', well)].map((one): RunEnd => ({ ...one, wasOver: true })),
];

/** What happens in a run, in order. */
const RUN_MOMENTS = ['WAITS', 'RUNS', 'HAS_EXITED'] as const;

/** Each step lets files and scheduler catch up by some moments; then something looks. */
const steps = fc.array(fc.record({
  look: fc.constantFrom('PUSH', 'POLL', 'POLL', 'SCHEDULER_IS_SILENT', 'ACCOUNTING_IS_SILENT', 'LONG_SILENCE'), files: fc.nat(2), scheduler: fc.nat(2),
}), { minLength: 1, maxLength: 9 });
const histories = fc.tuple(fc.array(fc.constantFrom(...REQUEUED_ENDS), { maxLength: 2 }), fc.constantFrom(...LAST_ENDS)).map(([before, last]) => [...before, last]);

let at: FakeClusterTest;
let fake: FakeCluster;
beforeAll(async () => {
  at = await fakeClusterTest();
  fake = at.fake;
  const { observe } = fake.cluster.executor;
  fake.override({ observe: async (attempts) => ({ ...await observe(attempts), hasAccounting: true }) });
});
afterAll(() => at.close());

let submitted = 0;
async function submitJob(): Promise<{ jobId: string; directory: string; slurmJobId: string }> {
  // Those before are over and read to the end.
  await at.db.pool.query('update jobs set harvested_at = now()');
  await submitSweep(at.context, smallSweep({ space: { grid: [{ key: 'n', values: [(submitted += 1)] }] } }));
  await fake.dispatch(at.db.database);
  const { rows: [row] } = await at.db.pool.query<{ id: string; storage_path: string; slurm_job_id: string }>(
    'select j.id, j.storage_path, a.slurm_job_id from jobs j join attempts a on a.job_id = j.id order by j.id desc limit 1');
  return { jobId: row!.id, directory: row!.storage_path, slurmJobId: row!.slurm_job_id };
}

class World {
  /** Moments of the history that the files show, and that the scheduler knows of. */
  #filesShow = 0;
  #schedulerKnows = 0;
  #seconds = 0;
  readonly hasExitRecord = new Set<number>();
  readonly #runs: RunEnd[];
  readonly #job: { jobId: string; directory: string; slurmJobId: string };
  readonly #lastMoment: number;

  constructor(runs: RunEnd[], job: { jobId: string; directory: string; slurmJobId: string }) {
    this.#runs = runs;
    this.#job = job;
    this.#lastMoment = runs.length * RUN_MOMENTS.length;
  }

  async advance(files: number, scheduler: number): Promise<void> {
    for (let moment = this.#filesShow + 1; moment <= Math.min(this.#lastMoment, this.#filesShow + files); moment += 1) await this.#write(moment);
    this.#filesShow = Math.min(this.#lastMoment, this.#filesShow + files);
    this.#schedulerKnows = this.#upTo(this.#schedulerKnows + scheduler);
    this.#seconds += 1;
  }

  /** Nobody puts back what does not show yet that it is over. */
  #upTo(moment: number): number {
    const open = this.#runs.findIndex(({ wasOver }, index) => wasOver === true && !this.hasExitRecord.has(index + 1));
    return Math.min(this.#lastMoment, moment, open === -1 ? this.#lastMoment : open * RUN_MOMENTS.length + RUN_MOMENTS.indexOf('HAS_EXITED'));
  }

  async #write(moment: number): Promise<void> {
    const number = Math.floor(moment / RUN_MOMENTS.length) + 1;
    const exit = this.#runs[number - 1]?.exit ?? null;
    const what = RUN_MOMENTS[moment % RUN_MOMENTS.length];
    if (what === 'RUNS') await putFile(ownerPath(this.#job.directory, number), `slurm ${this.#job.slurmJobId}\n`);
    if (what !== 'HAS_EXITED' || exit === null) return;
    this.hasExitRecord.add(number);
    const time = new Date(Date.now() + this.#seconds * 1000).toISOString();
    await putFile(exitRecordPath(this.#job.directory, number), JSON.stringify({ attempt: number, ...exit, signal: exit.exitCode > 128 ? exit.exitCode - 128 : null, startedAt: time, finishedAt: time, host: 'n1' }));
  }

  saysScheduler(): Partial<Observation> {
    const run = Math.min(this.#runs.length - 1, Math.floor(this.#schedulerKnows / RUN_MOMENTS.length));
    const earlierRuns = this.#runs.slice(0, run).map(({ state: end, wasOver }) => (wasOver ? 'CANCELLED' : end)).map((state): EarlierRun => ({
      state, reason: state === 'CANCELLED' ? 'requeued' : null, nodeList: 'n1', exitCode: null, signal: null, startedAt: null, finishedAt: null, elapsedSeconds: 1, maxRssBytes: null,
    }));
    if (this.#schedulerKnows === this.#lastMoment) return { state: this.#runs[run]!.state, nodeList: 'n1', earlierRuns };
    return { state: RUN_MOMENTS[this.#schedulerKnows % RUN_MOMENTS.length] === 'WAITS' ? 'PENDING' : 'RUNNING', earlierRuns };
  }

  async poll(said: Partial<Observation> | null, afterSeconds = 1): Promise<void> {
    this.#seconds += afterSeconds;
    fake.says.clear();
    if (said !== null) fake.says.set(0, said);
    await fake.observe(at.db.database, this.#seconds);
  }

  async push(): Promise<void> {
    const now = (): Date => new Date(Date.now() + this.#seconds * 1000);
    await observeChanged({ database: at.db.database, cluster: fake.cluster, files: fake.cluster.transport, rests: new ListRests(), logger: silent, now }, new Map([[this.#job.jobId, new Set(['started', 'exit'] as const)]]), { withAllLogs: false });
  }

  /** Whether somebody can know that the run with this number is over. */
  isKnownToBeOver(number: number): boolean {
    return this.hasExitRecord.has(number) || this.#schedulerKnows >= number * RUN_MOMENTS.length;
  }

  finish(): Promise<void> {
    return this.advance(this.#lastMoment, this.#lastMoment);
  }
}

async function look(world: World, kind: string): Promise<void> {
  const { observe } = fake.cluster.executor;
  switch (kind) {
    case 'PUSH': return world.push();
    case 'POLL': return world.poll(world.saysScheduler());
    case 'SCHEDULER_IS_SILENT': return world.poll(null);
    case 'LONG_SILENCE': {
      // Once the files tell of an end, that is not lost any more; and the scheduler is waited for only so long.
      if (world.hasExitRecord.size > 0) return;
      await world.poll(null);
      return world.poll(null, 700);
    }
    default:
      fake.override({ observe: async (attempts) => ({ ...await observe(attempts), isIncomplete: true }) });
      await world.poll(null);
      fake.override({ observe });
  }
}

/** Ends that were shown and then taken back. That a command ended well is shown at once, though the scheduler may know better; LOST is no end. */
async function endsTakenBack(jobId: string): Promise<unknown[]> {
  const ends = ['FAILED', 'CANCELLED', 'TIMEOUT', 'OUT_OF_MEMORY', 'NODE_FAIL', 'PREEMPTED'];
  return (await at.db.pool.query("select payload from events where job_id = $1 and kind = 'ATTEMPT_STATE_CHANGED' and payload->>'from' = any($2)", [jobId, ends])).rows;
}

interface Seen {
  number: number;
  state: AttemptState;
}

test('whatever order facts of the same history come in, its attempts end in the same states, never go back, and end on evidence only', async () => {
  await fc.assert(fc.asyncProperty(histories, steps, async (runs, looks) => {
    const job = await submitJob();
    const world = new World(runs, job);
    const attempts = async (): Promise<Seen[]> => (await at.db.pool.query<Seen>('select number, state from attempts where job_id = $1 order by number', [job.jobId])).rows;
    let newest = 1;
    for (const step of looks) {
      await world.advance(step.files, step.scheduler);
      await look(world, step.look);
      const seen = await attempts();
      expect(seen.length).toBeGreaterThanOrEqual(newest);
      newest = seen.length;
      for (const { number, state } of seen) if (isTerminalAttemptState(state) && state !== 'LOST') expect({ number, state, isKnown: world.isKnownToBeOver(number) }).toEqual({ number, state, isKnown: true });
    }
    await world.finish();
    for (const kind of ['PUSH', 'POLL', 'PUSH', 'POLL']) await look(world, kind);
    expect(await attempts()).toEqual(runs.map(({ state }, index) => ({ number: index + 1, state })));
    const { rows: [shown] } = await at.db.pool.query<{ attempt_count: number; has_result: boolean; state: string }>(
      'select j.state, attempt_count, exists (select 1 from results r where r.job_id = j.id) as has_result from jobs j where id = $1', [job.jobId]);
    expect(await endsTakenBack(job.jobId)).toEqual([]);
    const last = runs.at(-1)!.state;
    expect(shown).toEqual({ state: last === 'COMPLETED' || last === 'CANCELLED' ? last : 'FAILED', attempt_count: runs.length, has_result: last === 'COMPLETED' });
  }), { numRuns: 25, interruptAfterTimeLimit: 60_000 });
}, 180_000);

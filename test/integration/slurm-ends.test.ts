/** How jobs end, or wait, on a real SLURM when somebody or something else than their own command decides: each in the right state, with the reason in words. */
import { rmSync } from 'node:fs';
import { readFile, rm } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { endAll, identify, processesWithOpenFile, readRecord, until } from '../rig/processes.ts';
import { ensureRig, killNode, rigCluster, rigUnavailableReason, slurm, startRequeued, takeDownRig, type Rig } from '../rig/rig.ts';
import { ENDS_SHAPES } from '../rig/slurm-config.ts';
import { requeueUnseen } from '../chaos/requeue-unseen.ts';
import { openRigSite } from '../chaos/rig-site.ts';
import { collectUntil } from '../support/graphql-client.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

const SUBMIT_SWEEP = `mutation ($input: SubmitSweepInput!) {
  submitSweep(input: $input) { jobs { job { id } } userErrors { field message code } } }`;
const JOB = `query ($id: ID!) { job(id: $id) {
  state stateReason storagePath pending { reason explanation willStartByItself jobsAhead }
  attempts { number state reason exitCode signal slurmJobId failure { class } } } }`;
const EVENTS = `subscription ($filter: JobEventFilter) { jobEvents(filter: $filter, after: "0") { toState } }`;
const MODES = ['pushed', 'polled'] as const;
type Mode = (typeof MODES)[number];
/** Twice a second is far more often than anybody should: so many stories at once would wait for the sixty commands of a minute longer than for SLURM. */
const POLLED = `watch: false
    maxCommandsPerMinute: 6000`;

interface Asked {
  sbatchOptions?: Record<string, string>;
  partition?: string;
  cpus?: number;
  timeLimitMinutes?: number;
}

interface AttemptSeen {
  number: number;
  state: string;
  reason: string | null;
  exitCode: number | null;
  signal: number | null;
  slurmJobId: string;
  failure: { class: string } | null;
}
interface JobSeen {
  state: string;
  stateReason: string | null;
  storagePath: string;
  pending: { reason: string; explanation: string | null; willStartByItself: boolean | null; jobsAhead: number | null } | null;
  attempts: AttemptSeen[];
}

const skipReason = rigUnavailableReason();
if (skipReason !== null && process.env['CI']) throw new Error(`in CI the cluster tests must run: ${skipReason}`);

describe.skipIf(skipReason !== null)(`the ends of jobs on SLURM${skipReason === null ? '' : ` (skipped: ${skipReason})`}`, () => {
  // A rig of its own: these tests kill nodes, and push and break jobs of everybody.
  const directory = `/tmp/expgraph-rig-ends-${process.pid}`;
  let rig: Rig;
  let server: TestServer;

  const clusterText = (name: string, cluster: string, extra: string): string => {
    const { sshPort, rootDirectory } = rigCluster(rig, cluster);
    return `
  ${name}:
    kind: slurm
    rootDirectory: ${rootDirectory}/${name}
    ssh: { host: 127.0.0.1, port: ${sshPort}, user: ${rig.user}, identityFile: ${rig.identityFile}, knownHostsFile: ${rig.knownHostsFile} }
    defaults: { partition: gpu, account: cds, cpus: 1, memoryMiB: 50, timeLimitMinutes: 5 }
    pollSeconds: { min: 0.5, max: 2 }
    ${extra}`;
  };

  beforeAll(async () => {
    vi.stubEnv('EXPGRAPH_RIG_DIR', directory);
    rig = await ensureRig(() => {}, ENDS_SHAPES);
    server = await startTestServer({ configText: `defaultCluster: pushed\nclusters:${[
      clusterText('pushed', 'delta', 'watch: true'), clusterText('polled', 'delta', POLLED), clusterText('unaccounted', 'gamma', 'watch: true'),
    ].join('')}\n` });
  }, 300_000);
  afterAll(async () => {
    await server?.stop();
    await takeDownRig();
    rmSync(`${directory}.lock`, { force: true });
  }, 200_000);

  async function submitMany(cluster: string, name: string, count: number, command: string, resources: Asked = {}): Promise<string[]> {
    const { submitSweep } = await server.client.request(SUBMIT_SWEEP, {
      input: {
        project: 'tests', experiment: 'ends', name: `${name} ${cluster}`, cluster, command: ['bash', '-c', command],
        // Jobs that ask for the same travel in one batch: here each is to be one of its own.
        resources: { ...resources, sbatchOptions: { comment: name, ...resources.sbatchOptions } },
        space: { base: { name: `${name} ${cluster}` }, seeds: { values: Array.from({ length: count }, (_, seed) => seed) } },
      },
    });
    expect(submitSweep.userErrors).toEqual([]);
    return submitSweep.jobs.map(({ job }: { job: { id: string } }) => job.id);
  }
  const submit = async (cluster: string, name: string, command: string, resources: Asked = {}): Promise<string> => (await submitMany(cluster, name, 1, command, resources))[0]!;
  const option = (sbatchOptions: Record<string, string>, more: Asked = {}): Asked => ({ sbatchOptions, ...more });

  async function untilJob(jobId: string, expected: object, timeout = 150_000): Promise<JobSeen> {
    return vi.waitFor(async () => {
      const { job } = await server.client.request(JOB, { id: jobId });
      expect(job).toMatchObject(expected);
      return job;
    }, { timeout, interval: 250 });
  }
  const waiting = { state: 'PENDING', attempts: [{ slurmJobId: expect.stringMatching(/^\d/) }] };
  const running = { state: 'RUNNING' };
  const idOf = ({ attempts }: JobSeen): string => attempts.at(-1)!.slurmJobId;
  const onDelta = (...argv: string[]): Promise<string> => slurm(rig, 'delta', argv);
  const asRoot = (...argv: string[]): Promise<string> => slurm(rig, 'delta', argv, { as: 'root' });

  /** The same story where changes are pushed and where everything is polled. */
  function inBothModes(name: string, story: (mode: Mode) => Promise<void>): void {
    test.concurrent(name, async () => { await Promise.all(MODES.map(story)); }, 400_000);
  }

  inBothModes('a running and a waiting job that their user cancels with scancel end as CANCELLED', async (mode) => {
    const ids = await Promise.all([submit(mode, 'scancel running', 'sleep 600'), submit(mode, 'scancel waiting', 'true', option({ begin: 'now+1hour' }))]);
    const slurmIds = [idOf(await untilJob(ids[0], running)), idOf(await untilJob(ids[1], waiting))];
    await onDelta('scancel', ...slurmIds);
    for (const id of ids) {
      const { attempts } = await untilJob(id, { state: 'CANCELLED' });
      expect(attempts).toMatchObject([{ state: 'CANCELLED', reason: expect.stringMatching(/^cancelled(?:: by user id \d+)?$/), failure: null }]);
    }
  });

  inBothModes('a task of a waiting array that its user cancels with scancel is CANCELLED, though it leaves no trace, and the others wait on', async (mode) => {
    const ids = await submitMany(mode, 'scancel task', 3, 'true', option({ begin: 'now+1hour' }));
    const jobs = await Promise.all(ids.map((id) => untilJob(id, waiting)));
    await onDelta('scancel', idOf(jobs[1]!));
    await untilJob(ids[1]!, { state: 'CANCELLED', attempts: [{ state: 'CANCELLED', reason: 'cancelled: taken out of its waiting array' }] }, 200_000);
    for (const id of [ids[0]!, ids[2]!]) await untilJob(id, waiting);
  });

  inBothModes('a job that is requeued and held waits as its next attempt, says so, and ends well after its release', async (mode) => {
    const id = await submit(mode, 'requeuehold', '[ "$EXPGRAPH_ATTEMPT" = 2 ] || sleep 600');
    const slurmId = idOf(await untilJob(id, running));
    await onDelta('scontrol', 'requeuehold', slurmId);
    const held = await untilJob(id, { state: 'PENDING', attempts: [{ state: 'CANCELLED', reason: 'requeued' }, { number: 2, state: 'PENDING', slurmJobId: slurmId }] });
    await vi.waitFor(async () => {
      expect((await server.client.request(JOB, { id })).job.pending).toMatchObject({ explanation: expect.stringMatching(/hold|held/), willStartByItself: false });
    }, { timeout: 100_000, interval: 250 });
    expect(held.attempts).toHaveLength(2);
    await onDelta('scontrol', 'release', slurmId);
    await startRequeued(onDelta, slurmId);
    await untilJob(id, { state: 'COMPLETED', attempts: [{ state: 'CANCELLED' }, { state: 'COMPLETED' }] }, 200_000);
  });

  test.concurrent('jobs that make room for a more urgent one are PREEMPTED: one ends, one waits again as its next attempt; those behind are told how many are ahead', async () => {
    const low = await Promise.all(MODES.map((mode) => submit(mode, 'preempted, requeued', 'sleep 600', { partition: 'low', cpus: 16 })));
    const scavenge = await Promise.all(MODES.map((mode) => submit(mode, 'preempted, cancelled', 'sleep 600', { partition: 'scavenge', cpus: 16 })));
    await Promise.all([...low, ...scavenge].map((id) => untilJob(id, running)));
    await submit('pushed', 'urgent', 'sleep 600', { partition: 'urgent', cpus: 64 });
    for (const id of scavenge) await untilJob(id, { state: 'FAILED', attempts: [{ state: 'PREEMPTED', reason: expect.stringContaining('higher priority'), failure: { class: 'PREEMPTED' } }] }, 200_000);
    for (const id of low) await untilJob(id, { state: 'PENDING', attempts: [{ state: 'PREEMPTED' }, { number: 2, state: 'PENDING' }] }, 200_000);
    const behind: string[] = [];
    for (const name of ['first', 'second', 'third']) behind.push(await submit('pushed', `${name} in line`, 'true', { partition: 'urgent', cpus: 64 }));
    await untilJob(behind[2]!, { pending: { reason: 'Priority', jobsAhead: 2 } }, 200_000);
  }, 400_000);

  test.concurrent('jobs whose node fails end as NODE_FAIL, also where their command was killed first and they wrote an exit record; with requeue they wait again', async () => {
    const stay = await Promise.all(MODES.map((mode) => submit(mode, 'node fails', 'sleep 600', option({ nodelist: 'd3', 'no-requeue': '' }, { partition: 'dying' }))));
    const again = await Promise.all(MODES.map((mode) => submit(mode, 'node fails, requeued', 'echo $$ > "$EXPGRAPH_JOB_DIR/pid"; exec sleep 600', option({ nodelist: 'd2', requeue: '' }, { partition: 'dying' }))));
    const jobs = await Promise.all([...stay, ...again].map((id) => untilJob(id, running)));
    await killNode(rig, 'delta', 'd3');
    // Of the other node the daemons go first; then the commands are killed, and the scripts of the jobs live on to write how they ended.
    const daemon = readRecord(rig.directory, 'slurmd.delta.d2').process;
    await endAll([daemon, ...processesWithOpenFile(`${directory}/delta/slurmd.d2.log`)], 'SIGKILL');
    for (const { storagePath } of jobs.slice(stay.length)) {
      const command = identify(Number(await readFile(`${storagePath}/pid`, 'utf8')));
      if (command !== null) await endAll([command], 'SIGKILL');
      await until('the exit record', 20_000, async () => (await readFile(`${storagePath}/attempts/1/exit.json`, 'utf8').catch(() => '')).includes('137'));
    }
    for (const id of stay) await untilJob(id, { state: 'FAILED', stateReason: expect.stringContaining('d3'), attempts: [{ state: 'NODE_FAIL', failure: { class: 'NODE_FAILURE' } }] }, 200_000);
    for (const id of again) await untilJob(id, { state: 'PENDING', attempts: [{ state: 'NODE_FAIL', reason: 'node d2 failed' }, { number: 2, state: 'PENDING' }] }, 200_000);
    const isWaitingAgain = (events: { toState: string }[]): boolean => events.filter(({ toState }) => toState === 'PENDING').length === 2 * again.length;
    const events = await collectUntil<{ toState: string }>(server.client, EVENTS, { filter: { jobIds: again, kinds: ['JOB_STATE_CHANGED'] } }, isWaitingAgain, 30_000);
    expect(events.map(({ toState }) => toState)).not.toContain('FAILED');
  }, 400_000);

  inBothModes('a job that uses more memory than it asked for ends as OUT_OF_MEMORY', async (mode) => {
    const id = await submit(mode, 'too much memory', 'head -c 500M /dev/zero | tail');
    await untilJob(id, { state: 'FAILED', stateReason: 'the memory limit of the job was exceeded', attempts: [{ state: 'OUT_OF_MEMORY', failure: { class: 'HOST_OUT_OF_MEMORY' } }] });
  });

  inBothModes('a job that cannot start before its deadline ends as DEADLINE', async (mode) => {
    const id = await submit(mode, 'deadline', 'true', option({ begin: 'now+20', deadline: 'now+65' }, { timeLimitMinutes: 1 }));
    await untilJob(id, { state: 'FAILED', stateReason: expect.stringContaining('deadline'), attempts: [{ state: 'DEADLINE', failure: { class: 'TIME_LIMIT' } }] }, 180_000);
  });

  test.concurrent('a job that ignores its time limit is TIMEOUT; one that saves and exits after the warning signal says so', async () => {
    const saves = 'trap "touch saved; exit 5" USR1; while :; do sleep 0.2; done';
    const [ignores, warned] = await Promise.all([
      submit('polled', 'ignores TERM', 'trap "" TERM; while :; do sleep 1; done', { timeLimitMinutes: 1 }),
      submit('pushed', 'is warned', saves, option({ signal: 'B:USR1@55' }, { timeLimitMinutes: 1 })),
    ]);
    await untilJob(warned, { state: 'FAILED', attempts: [{ state: 'FAILED', exitCode: 5, failure: { class: 'TIME_LIMIT' } }] }, 200_000);
    await untilJob(ignores, { state: 'FAILED', stateReason: 'the time limit of 1 min was reached', attempts: [{ state: 'TIMEOUT' }] }, 150_000);
  }, 400_000);

  inBothModes('a trainer that is warned before its time limit, saves and asks to be requeued goes on from what it saved', async (mode) => {
    // A signal comes up to a minute before it is due.
    const id = await submit(mode, 'saves and is requeued', [
      'if [ "$EXPGRAPH_ATTEMPT" = 2 ]; then printf %s "$EXPGRAPH_RESUME_CHECKPOINT" > resumed-from; exit 0; fi',
      'echo 1 > "$EXPGRAPH_CHECKPOINTS_DIR/step=1.ckpt"',
      `trap 'echo 2 > "$EXPGRAPH_CHECKPOINTS_DIR/step=2.ckpt"; scontrol requeue "$SLURM_JOB_ID"; sleep 60' USR1`,
      'while :; do sleep 0.2; done',
    ].join('\n'), option({ signal: 'B:USR1@55' }, { timeLimitMinutes: 1 }));
    const { attempts } = await untilJob(id, { state: 'PENDING', attempts: [{ state: 'CANCELLED', reason: 'requeued' }, { number: 2 }] }, 200_000);
    await until('the note of the checkpoint', 20_000, async () => (await readFile(`${(await untilJob(id, {})).storagePath}/attempts/2/resume`, 'utf8').catch(() => '')) !== '');
    await startRequeued(onDelta, attempts[1]!.slurmJobId);
    const { storagePath } = await untilJob(id, { state: 'COMPLETED' });
    expect(await readFile(`${storagePath}/resumed-from`, 'utf8')).toBe(`${storagePath}/checkpoints/step=2.ckpt`);
  });

  inBothModes('a job held by its user and one held by an administrator say by whom', async (mode) => {
    const ids = await Promise.all(['user', 'admin'].map((who) => submit(mode, `held by ${who}`, 'true', option({ begin: 'now+1hour' }))));
    const [byUser, byAdmin] = await Promise.all(ids.map((id) => untilJob(id, waiting)));
    await onDelta('scontrol', 'hold', idOf(byUser!));
    await asRoot('scontrol', 'hold', idOf(byAdmin!));
    await untilJob(ids[0]!, { state: 'PENDING', pending: { reason: 'JobHeldUser', willStartByItself: false } });
    await untilJob(ids[1]!, { state: 'PENDING', pending: { reason: 'JobHeldAdmin', willStartByItself: false } });
  });

  inBothModes('a dependency that is never satisfied is CANCELLED where the job asks for that, else waits with advice', async (mode) => {
    const before = (await onDelta('sbatch', '--parsable', '--output=/dev/null', '--wrap=exit 1')).trim();
    const cancelled = await submit(mode, 'dependency, cancelled', 'true', option({ dependency: `afterok:${before}`, 'kill-on-invalid-dep': 'yes' }));
    const waits = await submit(mode, 'dependency, waits', 'true', option({ dependency: `afterok:${before}`, 'kill-on-invalid-dep': 'no' }));
    await untilJob(waits, { state: 'PENDING', pending: { reason: 'DependencyNeverSatisfied', willStartByItself: false, explanation: expect.stringContaining('rules out') } }, 200_000);
    await untilJob(cancelled, { state: 'CANCELLED', attempts: [{ state: 'CANCELLED', reason: expect.stringMatching(/^cancelled by SLURM: the job it depends on/) }] }, 200_000);
  });

  test.concurrent('a job that the prolog keeps from starting waits, held by SLURM', async () => {
    const broken = await submit('pushed', 'prolog fails', 'true', { partition: 'broken' });
    await untilJob(broken, { state: 'PENDING', pending: { explanation: expect.stringContaining('SLURM holds it'), willStartByItself: false } }, 200_000);
  }, 200_000);

  inBothModes('a job whose log folder is gone when it starts FAILED, and says so', async (mode) => {
    const logless = await submit(mode, 'log folder gone', 'true', option({ begin: 'now+1hour' }));
    const slurmId = idOf(await untilJob(logless, waiting));
    const { job } = await server.client.request('query ($id: ID!) { job(id: $id) { attempts { stdoutPath } } }', { id: logless });
    await rm(job.attempts[0].stdoutPath.replace(/\/[^/]*$/, ''), { recursive: true });
    await onDelta('scontrol', 'update', `jobid=${slurmId}`, 'StartTime=now');
    await untilJob(logless, { state: 'FAILED', stateReason: expect.stringContaining('log folder') });
  });

  inBothModes('exit codes above 128 and signals are told apart', async (mode) => {
    const ids = await Promise.all([submit(mode, 'exit 200', 'exit 200'), submit(mode, 'exit 130', 'exit 130'), submit(mode, 'segfault', 'kill -SEGV $$')]);
    await untilJob(ids[0], { state: 'FAILED', stateReason: 'exit code 200', attempts: [{ state: 'FAILED', exitCode: 200, signal: null }] });
    await untilJob(ids[1], { state: 'FAILED', attempts: [{ state: 'FAILED', exitCode: 130, signal: 2 }] });
    await untilJob(ids[2], { state: 'FAILED', stateReason: expect.stringMatching(/^segmentation fault \(signal 11\)/), attempts: [{ state: 'FAILED', exitCode: 139, signal: 11 }] });
  });

  describe('on a site without accounting', () => {
    const onGamma = (...argv: string[]): Promise<string> => slurm(rig, 'gamma', argv);

    test.concurrent('jobs complete, fail and are cancelled by hand as elsewhere, and the cluster says that it keeps no accounts', async () => {
      const [completes, fails, cancelled] = await Promise.all([
        submit('unaccounted', 'completes', 'true'), submit('unaccounted', 'fails', 'exit 3'), submit('unaccounted', 'is cancelled', 'sleep 600'),
      ]);
      await onGamma('scancel', idOf(await untilJob(cancelled, running)));
      await untilJob(completes, { state: 'COMPLETED', attempts: [{ exitCode: 0 }] });
      await untilJob(fails, { state: 'FAILED', stateReason: 'exit code 3' });
      await untilJob(cancelled, { state: 'CANCELLED' });
      const { cluster } = await server.client.request('{ cluster(name: "unaccounted") { hasAccounting reachable lastError } }');
      expect(cluster).toEqual({ hasAccounting: false, reachable: true, lastError: null });
      expect((await server.client.request('{ cluster(name: "pushed") { hasAccounting } }')).cluster.hasAccounting).toBe(true);
    }, 200_000);

    test.concurrent('a requeue is followed from the queue', async () => {
      const id = await submit('unaccounted', 'is requeued', '[ "$EXPGRAPH_ATTEMPT" = 2 ] || sleep 600');
      const slurmId = idOf(await untilJob(id, running));
      await onGamma('scontrol', 'requeue', slurmId);
      await untilJob(id, { state: 'PENDING', attempts: [{ state: 'CANCELLED', reason: 'requeued' }, { number: 2 }] });
      await startRequeued(onGamma, slurmId);
      await untilJob(id, { state: 'COMPLETED', attempts: [{ state: 'CANCELLED' }, { state: 'COMPLETED', exitCode: 0 }] }, 200_000);
    }, 400_000);

    test.concurrent('requeues that no server saw are followed from the start guards and exit records, also of a run that had failed by itself', async () => {
      const site = await openRigSite(rig, 'gamma');
      try {
        const { jobId, slurmJobId } = await requeueUnseen(site);
        site.start();
        await site.untilEnded();
        await until('all runs to be known', 120_000, async () => (await site.attemptsOf(jobId)).length === 3);
        await site.untilEnded();
        expect(await site.attemptsOf(jobId)).toMatchObject([
          { state: 'FAILED', reason: 'exit code 3', exitCode: 3 }, { state: 'CANCELLED', reason: 'requeued' }, { state: 'COMPLETED', exitCode: 0, restart: 2, slurmJobId },
        ]);
        expect(await site.executions()).toEqual([1, 2, 3].map((run) => `${jobId} ${run}`));
      } finally {
        await site.close();
      }
    }, 600_000);
  });
});

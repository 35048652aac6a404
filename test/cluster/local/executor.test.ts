/** What only the local executor has to do by itself: time limits, processes that vanish, pids that are given again. */
import { spawn } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { identifyChild, listProcesses, parseProcessId } from '../../../src/cluster/local/process.ts';
import { exitRecordPath } from '../../../src/domain/layout.ts';
import { openLocal, shellBatch, submit, trackedAttempts, untilStates, untilText, type TestCluster } from '../executors.ts';

const WAIT = 'touch "$EXPGRAPH_JOB_DIR/ready"; while :; do sleep 0.05; done';

let test: TestCluster;
beforeEach(() => { test = openLocal(); });
afterEach(async () => { await test.close(); });

async function startOne(command: string): Promise<{ jobDirectory: string; id: string; tracked: ReturnType<typeof trackedAttempts> }> {
  const batch = shellBatch(test, [command]);
  const { submitted, tracked } = await submit(test, batch);
  const { jobDirectory } = batch.tasks[0]!;
  await untilText(test.cluster, `${jobDirectory}/ready`);
  return { jobDirectory, id: submitted.taskSlurmJobIds[0]!, tracked };
}

describe('a local process', () => {
  it('is ended at its time limit', async () => {
    const { jobDirectory, tracked } = await startOne(WAIT);
    const limited = tracked.map((attempt) => ({ ...attempt, timeLimitMinutes: 0.005 }));
    const [seen] = await untilStates(test.cluster, limited, ['TIMEOUT']);
    expect(seen).toMatchObject({ exitCode: 143, signal: 15 });
    expect(existsSync(exitRecordPath(jobDirectory, 1))).toBe(true);
  });

  it('that is killed with its script has failed, and nothing of it runs on', async () => {
    const { jobDirectory, id, tracked } = await startOne(`echo $$ > "$EXPGRAPH_JOB_DIR/pid"; ${WAIT}`);
    const { pid } = parseProcessId(id)!;
    process.kill(pid, 'SIGKILL');
    const [seen] = await untilStates(test.cluster, tracked, ['FAILED']);
    expect(seen).toMatchObject({ reason: 'the process ended without an exit record', exitCode: null });
    const command = Number(readFileSync(`${jobDirectory}/pid`, 'utf8'));
    await expect.poll(async () => (await listProcesses()).has(command)).toBe(false);
  });

  it('is not mistaken for another one that got its pid', async () => {
    const { id, tracked } = await startOne(WAIT);
    const { pid, startTicks } = parseProcessId(id)!;
    const other = tracked.map((attempt) => ({ ...attempt, slurmJobId: `${pid}.${startTicks - 1}` }));
    expect((await test.cluster.executor.observe(other)).observations[0]).toMatchObject({ state: 'FAILED' });
    await test.cluster.executor.cancel([`${pid}.${startTicks - 1}`]);
    expect((await test.cluster.executor.observe(tracked)).observations[0]).toMatchObject({ state: 'RUNNING' });
    await test.cluster.executor.cancel([id]);
    await untilStates(test.cluster, tracked, ['CANCELLED']);
  });

  it('whose pid was given to others since, leaves what those left running alone', async () => {
    // Their leader has ended: all that is left is a group under the number that was once ours.
    const leader = spawn('sh', ['-c', 'sleep 60 & echo $!'], { detached: true, stdio: ['ignore', 'pipe', 'ignore'] });
    const bystander = await new Promise<number>((resolve) => leader.stdout.once('data', (text: Buffer) => resolve(Number(text.toString()))));
    await expect.poll(async () => (await listProcesses()).has(leader.pid!)).toBe(false);
    const [attempt] = trackedAttempts(shellBatch(test, ['true']), { slurmJobId: null, taskSlurmJobIds: [`${leader.pid}.1`], answer: '' });
    expect((await test.cluster.executor.observe([attempt!])).observations[0]).toMatchObject({ state: 'FAILED' });
    const survivors = await listProcesses();
    expect(survivors.has(bystander)).toBe(true);
    process.kill(bystander, 'SIGKILL');
  });

  it('that ended while no server ran is found by its owner file', async () => {
    const batch = shellBatch(test, ['exit 4']);
    const { tracked } = await submit(test, batch);
    await untilStates(test.cluster, tracked, ['FAILED']);
    const [seen] = (await test.reopen().executor.observe(trackedAttempts(batch, null))).observations;
    expect(seen).toMatchObject({ state: 'FAILED', exitCode: 4, slurmJobId: expect.stringMatching(/^\d+\.0$/) });
  });

  it('has its memory measured while it runs', async () => {
    const { id, tracked } = await startOne(`touch "$EXPGRAPH_JOB_DIR/ready"; exec ${process.execPath} -e 'const b = Buffer.alloc(150e6, 1); setInterval(() => b[0], 1000)'`);
    await vi.waitFor(async () => {
      const [seen] = (await test.cluster.executor.observe(tracked)).observations;
      expect(seen!.maxRssBytes).toBeGreaterThan(150e6);
    }, { timeout: 20_000, interval: 50 });
    await test.cluster.executor.cancel([id]);
    const [ended] = await untilStates(test.cluster, tracked, ['CANCELLED']);
    expect(ended!.maxRssBytes).toBeGreaterThan(150e6);
  });

  it('does not see the server\'s own settings nor those of a SLURM job around it', async () => {
    vi.stubEnv('DATABASE_URL', 'postgres://secret');
    vi.stubEnv('SLURM_ARRAY_TASK_ID', '7');
    vi.stubEnv('SLURM_JOB_ID', '8');
    try {
      const { jobDirectory, id, tracked } = await startOne(`env > "$EXPGRAPH_JOB_DIR/env"; ${WAIT}`);
      const environment = readFileSync(`${jobDirectory}/env`, 'utf8');
      expect(environment).not.toMatch(/^(DATABASE_URL|SLURM_)/m);
      await test.cluster.executor.cancel([id]);
      await untilStates(test.cluster, tracked, ['CANCELLED']);
    } finally {
      vi.unstubAllEnvs();
    }
  });

  it('that cannot be started because the root cannot be written to is not submitted', async () => {
    const batch = shellBatch(test, ['true']);
    writeFileSync(`${test.cluster.settings.rootDirectory}/.expgraph`, 'a file in the way');
    await expect(test.cluster.executor.submit(batch, 'true')).rejects.toMatchObject({ name: 'SubmitError', failure: 'transient' });
  });
});

describe('the list of processes', () => {
  it('has this one with its start', async () => {
    const id = identifyChild(process.pid);
    const row = (await listProcesses()).get(process.pid);
    expect(id).toBe(`${process.pid}.${row?.startTicks}`);
  });
});

/** What every executor promises, over each of them. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Cluster } from '../../src/cluster/executor.ts';
import type { TaskSpec } from '../../src/domain/batch.ts';
import { attemptLogPaths, exitRecordPath } from '../../src/domain/layout.ts';
import { executors, readText, shellBatch, submit, trackedAttempts, untilStates, untilText, type TestCluster } from './executors.ts';

const WAIT = 'touch "$EXPGRAPH_JOB_DIR/ready"; while :; do sleep 0.1; done';
const UNTIL_GO = 'while ! [ -e "$EXPGRAPH_JOB_DIR/go" ]; do sleep 0.1; done';

/** Ends what runs {@link UNTIL_GO}. SLURM calls a job running before its script has made the job directory. */
async function letGo({ transport }: Cluster, tasks: TaskSpec[]): Promise<void> {
  const directories = tasks.map(({ jobDirectory }) => jobDirectory);
  expect((await transport.exec(['mkdir', '-p', ...directories])).exitCode).toBe(0);
  expect((await transport.exec(['touch', ...directories.map((directory) => `${directory}/go`)])).exitCode).toBe(0);
}

for (const { name, unavailableReason, open } of executors) {
  describe.skipIf(unavailableReason !== null)(`the ${name} executor`, () => {
    let test: TestCluster;
    beforeAll(async () => { test = await open(); }, 180_000);
    afterAll(async () => { await test?.close(); });

    it('runs every task of a batch and tells how each ended', async () => {
      const batch = shellBatch(test, ['echo out; echo err >&2', 'exit 3', 'kill -9 $$']);
      const { submitted, tracked } = await submit(test, batch);
      expect(new Set(submitted.taskSlurmJobIds).size).toBe(3);
      const seen = await untilStates(test.cluster, tracked, ['COMPLETED', 'FAILED', 'FAILED']);
      expect(seen.slice(0, 2).map(({ exitCode, signal }) => ({ exitCode, signal }))).toEqual([{ exitCode: 0, signal: null }, { exitCode: 3, signal: null }]);
      // sacct takes 128 off an exit code, so that only the record tells this death by a signal from `exit 9`.
      expect(await readText(test.cluster, exitRecordPath(batch.tasks[2]!.jobDirectory, 1))).toContain('"exitCode":137,"signal":9');
      for (const { nodeList, startedAt, finishedAt, elapsedSeconds } of seen) {
        expect(nodeList).toBeTruthy();
        expect(startedAt!.getTime()).toBeLessThanOrEqual(finishedAt!.getTime());
        expect(Math.abs(Date.now() - finishedAt!.getTime())).toBeLessThan(120_000);
        expect(elapsedSeconds).toBeGreaterThanOrEqual(0);
      }
      expect(seen.map(({ slurmJobId }) => slurmJobId)).toEqual(submitted.taskSlurmJobIds);
      const logs = attemptLogPaths(test.cluster.settings.rootDirectory, batch.token, submitted.taskSlurmJobIds[0]!, 0);
      expect([await readText(test.cluster, logs.stdout), await readText(test.cluster, logs.stderr)]).toEqual(['out\n', 'err\n']);
      expect(await readText(test.cluster, `${batch.tasks[0]!.jobDirectory}/logs/attempt-1.out`)).toBe('out\n');
    });

    it('runs a single job', async () => {
      const { tracked } = await submit(test, shellBatch(test, ['true']));
      await untilStates(test.cluster, tracked, ['COMPLETED']);
    });

    it('brings the values of each task to it, whatever they hold', async () => {
      const nasty = `it's "q" $(touch pwned) \`id\` $HOME \\ \r\n#SBATCH --job-name=evil\n#SBATCH hetjob\n雪`;
      const batch = shellBatch(test, ['printf %s "$NOTE" > "$EXPGRAPH_JOB_DIR/note"', 'printf %s "$NOTE" > "$EXPGRAPH_JOB_DIR/note"']);
      batch.tasks.forEach((task, index) => { task.identity.environment = { NOTE: `${nasty}${index}` }; });
      const { tracked } = await submit(test, batch);
      await untilStates(test.cluster, tracked, ['COMPLETED', 'COMPLETED']);
      expect(await Promise.all(batch.tasks.map(({ jobDirectory }) => readText(test.cluster, `${jobDirectory}/note`)))).toEqual([`${nasty}0`, `${nasty}1`]);
    });

    it('shows a running job, and ends it when asked: TERM once, an exit record, CANCELLED', async () => {
      const batch = shellBatch(test, [`trap 'echo TERM >> "$EXPGRAPH_JOB_DIR/signals"; exit 0' TERM; ${WAIT}`]);
      const { submitted, tracked } = await submit(test, batch);
      const { jobDirectory } = batch.tasks[0]!;
      await untilText(test.cluster, `${jobDirectory}/ready`);
      const [running] = await untilStates(test.cluster, tracked, ['RUNNING']);
      expect(running).toMatchObject({ exitCode: null, finishedAt: null });
      expect(running!.startedAt).toBeInstanceOf(Date);
      await test.cluster.executor.cancel(submitted.taskSlurmJobIds);
      await untilStates(test.cluster, tracked, ['CANCELLED']);
      expect(await untilText(test.cluster, exitRecordPath(jobDirectory, 1))).toContain('"exitCode":0');
      expect(await readText(test.cluster, `${jobDirectory}/signals`)).toBe('TERM\n');
      await test.cluster.executor.cancel(submitted.taskSlurmJobIds);
    });

    it('ends a job that ignores TERM for certain', async () => {
      const batch = shellBatch(test, [`trap '' TERM; ${WAIT}`]);
      const { submitted, tracked } = await submit(test, batch);
      await untilText(test.cluster, `${batch.tasks[0]!.jobDirectory}/ready`);
      await test.cluster.executor.cancel(submitted.taskSlurmJobIds);
      await untilStates(test.cluster, tracked, ['CANCELLED']);
    }, 60_000);

    it('cancels some tasks of a batch and leaves the others alone', async () => {
      const batch = shellBatch(test, [WAIT, WAIT, UNTIL_GO]);
      const { submitted, tracked } = await submit(test, batch);
      await untilStates(test.cluster, tracked, ['RUNNING', 'RUNNING', 'RUNNING']);
      await test.cluster.executor.cancel(submitted.taskSlurmJobIds.slice(0, 2));
      await untilStates(test.cluster, tracked, ['CANCELLED', 'CANCELLED', 'RUNNING']);
      await letGo(test.cluster, batch.tasks.slice(2));
      await untilStates(test.cluster, tracked, ['CANCELLED', 'CANCELLED', 'COMPLETED']);
    });

    it('does nothing when told to cancel or hold what is not there', async () => {
      const { submitted, tracked } = await submit(test, shellBatch(test, ['true']));
      await untilStates(test.cluster, tracked, ['COMPLETED']);
      const gone = [...submitted.taskSlurmJobIds, name === 'local' ? '999999.1' : '99999999', name === 'local' ? '999998.1' : '99999998_3'];
      await test.cluster.executor.cancel(gone);
      await test.cluster.executor.setHeld(gone, true);
      await test.cluster.executor.setHeld(gone, false);
    });

    it('finds a submission whose answer was lost, by another instance, running and ended', async () => {
      const batch = shellBatch(test, [UNTIL_GO, UNTIL_GO]);
      const { submitted } = await submit(test, batch);
      const lost = trackedAttempts(batch, null);
      const other = test.reopen();
      const found = await untilStates(other, lost, ['RUNNING', 'RUNNING']);
      expect(found.map(({ slurmJobId }) => slurmJobId)).toEqual(submitted.taskSlurmJobIds);
      await letGo(other, batch.tasks);
      await untilStates(other, lost, ['COMPLETED', 'COMPLETED']);
    });

    it('says nothing of a submission that never arrived', async () => {
      expect(await test.cluster.executor.observe(trackedAttempts(shellBatch(test, ['true', 'true']), null))).toMatchObject({ observations: [], problems: [] });
      expect(await test.cluster.executor.observe([])).toMatchObject({ observations: [], problems: [] });
    });

    it('describes itself', async () => {
      const { partitions, pendingJobCount, runningJobCount } = await test.cluster.executor.describe();
      expect(partitions.filter(({ isDefault }) => isDefault)).toHaveLength(1);
      for (const partition of partitions) {
        expect(partition.cpuCount).toBeGreaterThan(0);
        expect(partition.memoryMiBPerNode).toBeGreaterThan(0);
        expect(partition.nodeCount).toBeGreaterThan(0);
      }
      expect(pendingJobCount).toBeGreaterThanOrEqual(0);
      expect(runningJobCount).toBeGreaterThanOrEqual(0);
    });
  });
}

/** A job that is put back into the queue twice while no server runs: it fails by itself, then is broken off, then ends well. */
import { until } from '../rig/processes.ts';
import { startRequeued } from '../rig/rig.ts';
import type { RigSite } from './rig-site.ts';

/** Leaves the site stopped, with all three runs over. */
export async function requeueUnseen(site: RigSite): Promise<{ jobId: string; slurmJobId: string }> {
  const commands = `while [ ! -e ${site.root}/go-$EXPGRAPH_ATTEMPT ]; do sleep 0.2; done; [ "$EXPGRAPH_ATTEMPT" != 1 ] || exit 3`;
  const [jobId = ''] = await site.submit('requeued unseen', commands, 1);
  site.start();
  await until('the first run to start', 120_000, async () => (await site.attemptsOf(jobId))[0]?.state === 'RUNNING');
  await site.stop();
  const slurmJobId = (await site.attemptsOf(jobId))[0]?.slurmJobId ?? '';
  const endRun = async (run: number, how: string): Promise<void> => {
    await site.slurm('touch', `${site.root}/go-${run}`);
    await until(`run ${run} to have ended`, 120_000, async () => (await site.slurm('squeue', '-h', '-t', 'all', '-j', slurmJobId, '-o', '%T')).trim() === how);
  };
  const runAgain = async (run: number): Promise<void> => {
    await site.slurm('scontrol', 'requeue', slurmJobId);
    await startRequeued(site.slurm, slurmJobId);
    await until(`run ${run} to have started`, 120_000, async () => (await site.executions()).length === run);
  };
  await endRun(1, 'FAILED');
  await runAgain(2);
  await runAgain(3);
  await endRun(3, 'COMPLETED');
  return { jobId, slurmJobId };
}

/** What the whole queue of a cluster says: how much there is in it, and how many jobs wait before one of ours. Pure. */
import type { ClusterDescription } from '../executor.ts';
import { parseListedId } from './job-ids.ts';

interface WaitingJob {
  slurmJobId: string;
  baseId: number;
  taskIndex: number;
  priority: number;
  partitions: string[];
  user: string;
  /** Whether it waits for its turn and for nothing else. */
  isInLine: boolean;
  waitsForPriority: boolean;
}

/** Reasons of jobs that SLURM would start next if it could; held jobs and those over a limit are passed over. */
const IN_LINE = new Set(['Resources', 'Priority', 'None']);

/**
 * Reads the answer to OVERVIEW_COMMAND.
 * @param user whose waiting jobs are wanted
 * @param showsEverybody false where the site hides the jobs of others: then nobody knows how many are ahead
 */
export function readOverview(text: string, user: string, showsEverybody: boolean): Pick<ClusterDescription, 'pendingJobCount' | 'runningJobCount' | 'jobsAhead'> {
  const rows = text.split('\n').filter((line) => line !== '').map((line) => line.split('|'));
  const waiting = rows.filter(([state]) => state === 'PENDING').flatMap(readWaiting);
  return {
    pendingJobCount: waiting.length,
    runningJobCount: rows.filter(([state]) => state === 'RUNNING').length,
    jobsAhead: showsEverybody ? countAhead(waiting, user) : new Map(),
  };
}

function readWaiting([, priority = '', partitions = '', user = '', id = '', ...reason]: string[]): WaitingJob[] {
  const listed = parseListedId(id);
  const word = reason.join('|');
  return [{
    slurmJobId: id, baseId: Number(listed?.baseId ?? 0), taskIndex: listed?.taskIndexes?.[0] ?? 0, priority: Number(priority) || 0, partitions: partitions.split(','),
    user, isInLine: IN_LINE.has(word), waitsForPriority: word === 'Priority',
  }];
}

/** For each job of the user that waits for those of higher priority: how many of its partition come before it; of several partitions, of the best. */
function countAhead(waiting: WaitingJob[], user: string): Map<string, number> {
  const inOrder = waiting.filter(({ isInLine }) => isInLine).sort((a, b) => b.priority - a.priority || a.baseId - b.baseId || a.taskIndex - b.taskIndex);
  const passed = new Map<string, number>();
  const ahead = new Map<string, number>();
  for (const job of inOrder) {
    const counts = job.partitions.map((partition) => passed.get(partition) ?? 0);
    if (job.user === user && job.waitsForPriority) ahead.set(job.slurmJobId, Math.min(...counts));
    for (const [index, partition] of job.partitions.entries()) passed.set(partition, counts[index]! + 1);
  }
  return ahead;
}

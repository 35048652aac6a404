/** Counts what came of jobs, by three witnesses: the database, SLURM's accounting, and the jobs themselves. */
import type pg from 'pg';
import type { StateEvent } from './victim.ts';

export interface Tally {
  jobs: number;
  /** Counted by the jobs themselves. */
  executions: number;
  /** Submissions recorded, by their state. */
  submissions: Record<string, number>;
  states: Record<string, number>;
  /** Why jobs did not complete: their round, the server's words and what the job itself left behind. */
  reasons: Record<string, number>;
  /** Jobs that are LOST, or that completed without ever having run. */
  lost: string[];
  /** Attempts that ran more than once. */
  doubled: string[];
  /** Jobs that ended otherwise than SLURM says. */
  wrong: string[];
  /** Events that the subscriber did not get, got twice, or that do not join up. */
  missedEvents: string[];
}

export interface Witnesses {
  query: pg.Pool['query'];
  events: StateEvent[];
  /** `job attempt`, a line an execution. */
  executed: string[];
  sacct: (slurmJobIds: string[]) => Promise<string>;
}

interface LastAttempt {
  id: string;
  state: string;
  state_reason: string | null;
  round: string;
  error_text: string | null;
  number: number;
  attempt_state: string;
  slurm_job_id: string | null;
}

export async function tally({ query, events, executed, sacct }: Witnesses): Promise<Tally> {
  const { rows } = await query<LastAttempt>(`
    select j.id, j.state, j.state_reason, j.config->>'round' as round, coalesce(nullif(a.error_text, ''), a.stderr_tail) as error_text, a.number, a.state as attempt_state, a.slurm_job_id from jobs j left join attempts a on a.job_id = j.id and a.number = j.attempt_count order by j.id`);
  const { rows: batches } = await query<{ state: string }>('select state from batches');
  const told = new Map((await sacct(rows.flatMap(({ slurm_job_id }) => slurm_job_id ?? []))).trim().split('\n').map((line) => {
    const [slurmJobId = '', state = ''] = line.split('|');
    return [slurmJobId, state.split(' ')[0] ?? ''] as const;
  }));
  const runs = countBy(executed);
  return {
    jobs: rows.length, executions: executed.length, submissions: Object.fromEntries(countBy(batches.map(({ state }) => state))),
    states: Object.fromEntries(countBy(rows.map(({ state }) => state))),
    reasons: Object.fromEntries(countBy(rows.filter(({ state }) => state !== 'COMPLETED').map(whyNot))),
    lost: rows.filter((row) => row.state === 'LOST' || (row.state === 'COMPLETED' && !runs.has(`${row.id} ${row.number}`))).map(({ id, state }) => `${id} is ${state}`),
    doubled: [...runs].filter(([, count]) => count > 1).map(([attempt, count]) => `${attempt} ran ${count} times`),
    wrong: rows.filter((row) => told.get(row.slurm_job_id ?? '') !== row.attempt_state)
      .map((row) => `${row.id} (${row.slurm_job_id}) is ${row.attempt_state}, SLURM says ${told.get(row.slurm_job_id ?? '')}`),
    missedEvents: await missing(query, events),
  };
}

function whyNot({ round, state_reason, error_text }: LastAttempt): string {
  return [round, state_reason, error_text?.split('\n')[0]].join('; ');
}

async function missing(query: pg.Pool['query'], events: StateEvent[]): Promise<string[]> {
  const { rows } = await query<{ cursor: string }>("select seq::text as cursor from events where kind = 'JOB_STATE_CHANGED' order by seq");
  const received = countBy(events.map(({ cursor }) => cursor));
  const states = new Map<string, string>();
  const gaps = events.flatMap(({ job, cursor, fromState, toState }) => {
    const was = states.get(job.id) ?? null;
    states.set(job.id, toState);
    return was === fromState ? [] : [`event ${cursor} of ${job.id} tells of a change from ${fromState}, but it was ${was}`];
  });
  return [...rows.filter(({ cursor }) => received.get(cursor) !== 1).map(({ cursor }) => `event ${cursor} came ${received.get(cursor) ?? 0} times`), ...gaps];
}

function countBy(words: string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1);
  return counts;
}

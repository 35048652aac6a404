/** Jobs of a table in memory that may have the best checkpoint. */
import type { Objective } from './job-spec.ts';
import type { JobTable, TableNeeds } from './job-table.ts';
import { leastOf } from './least-of.ts';

/** A job, and the best value that any checkpoint of it could have: less is better. */
export interface Candidate {
  jobId: string;
  cost: number;
}

/** What a table must hold to tell the candidates. */
export function needsOfCandidates({ metric, goal }: Objective): TableNeeds {
  return { columns: ['checkpoint', `given:${goal}:${metric}`], metrics: [metric] };
}

/** Of the jobs that have a checkpoint that is whole, and a value, `count` from the place `offset` on, the best first, of equals the one with the least id. */
export function bestCandidates(table: JobTable, { metric, goal }: Objective, offset: number, count: number): Candidate[] {
  const [sign, values] = goal === 'MIN' ? [1, table.metric(metric).min] : [-1, table.metric(metric).max];
  const given = table.numbers(`given:${goal}:${metric}`);
  const hasCheckpoint = table.numbers('checkpoint');
  const costs = new Float64Array(table.ids.length);
  const rows: number[] = [];
  for (let row = 0; row < costs.length; row += 1) {
    const logged = sign * values[row]!;
    const said = sign * given[row]!;
    costs[row] = Number.isNaN(said) || logged < said ? logged : said;
    if (hasCheckpoint[row] === 1 && !Number.isNaN(costs[row])) rows.push(row);
  }
  const best = leastOf(rows, offset + count, (a, b) => costs[a]! - costs[b]! || (table.ids[a]! < table.ids[b]! ? -1 : 1));
  return best.slice(offset).map((row) => ({ jobId: table.ids[row]!, cost: costs[row]! }));
}

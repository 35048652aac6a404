/** The leaderboard of the demo's experiment, as a table. */
import Table from 'cli-table3';
import type { GraphqlClient } from './graphql-client.ts';

const LEADERBOARD = `query Leaderboard($project: String!, $name: String!, $groupBy: [String!]!) {
  experiment(project: $project, name: $name) {
    leaderboard(groupBy: $groupBy) { config mean standardDeviation n bestValue step checkpoint { path } }
  }
}`;

export interface LeaderboardRow {
  /** Values of the `groupBy` keys. */
  config: Record<string, unknown>;
  mean: number;
  standardDeviation: number | null;
  n: number;
  bestValue: number;
  /** Of the best value. */
  step: number;
  checkpoint: { path: string } | null;
}

/** Best group first, by the experiment's objective. */
export async function fetchLeaderboard(client: GraphqlClient, experiment: { project: string; name: string }, groupBy: string[]): Promise<LeaderboardRow[]> {
  const data = await client.request<{ experiment: { leaderboard: LeaderboardRow[] } | null }>(LEADERBOARD, { ...experiment, groupBy });
  return data.experiment?.leaderboard ?? [];
}

const number = (value: number) => value.toFixed(4);

/** One line a configuration; checkpoints relative to `directory`, which all of them share. */
export function renderLeaderboard(rows: readonly LeaderboardRow[], groupBy: readonly string[], metric: string, directory: string): string {
  const table = new Table({
    head: ['', ...groupBy, `${metric} (mean ± std)`, 'runs', 'best', 'step', 'checkpoint of the best run'],
    style: { head: [], border: [], compact: true },
    colAligns: ['right', ...groupBy.map(() => 'right' as const), 'right', 'right', 'right', 'right', 'left'],
  });
  for (const [index, { config, mean, standardDeviation, n, bestValue, step, checkpoint }] of rows.entries()) {
    const spread = standardDeviation === null ? '' : ` ± ${number(standardDeviation)}`;
    const path = checkpoint?.path.replace(`${directory}/`, '') ?? 'none';
    table.push([index + 1, ...groupBy.map((key) => JSON.stringify(config[key])), `${number(mean)}${spread}`, n, number(bestValue), step, path]);
  }
  return table.toString();
}

/** Which configurations did best: jobs grouped by configuration, each group ranked by the mean of its jobs' best values. */
import type { Goal, Json } from './job-spec.ts';
import type { JobColumn, JobTable, TableNeeds } from './job-table.ts';
import { rowsThatPass } from './job-table-filter.ts';
import { leastOf } from './least-of.ts';
import type { JobState } from './states.ts';

/** The square root of the largest double is about 1.3e154; this leaves room to add up. */
export const SQUARES_OVERFLOW_ABOVE = 1e150;

export interface LeaderboardOptions {
  /** Dotted configuration keys that make a group; null: every job is its own. */
  groupBy: readonly string[] | null;
  /** Only jobs in these states count. */
  states: readonly JobState[];
  /** Most groups of each experiment. */
  first: number;
}

export interface LeaderboardEntry {
  /** 1 for the best group. */
  rank: number;
  /** Values of the `groupBy` keys, in their order; null where a job lacks the key. Empty without `groupBy`. */
  groupValues: Json[];
  jobCount: number;
  mean: number;
  /** Of the sample; null for a group of one. */
  standardDeviation: number | null;
  bestJobId: string;
  bestValue: number;
  bestStep: number;
}

/** What a table must hold for the leaderboard of a metric. */
export function needsOfLeaderboard(metric: string, { groupBy }: LeaderboardOptions): TableNeeds {
  return { columns: ['state', ...(groupBy ?? []).map((key): JobColumn => `config:${key}`)], metrics: [metric] };
}

/** A dense array of this many numbers is made rather than a map. */
const MAX_DENSE_PAIRS = 4_000_000;

/** The leaderboard of a table. A job's value is its metric's least or greatest finite value. */
export function leaderboardOfTable(table: JobTable, metric: string, goal: Goal, options: LeaderboardOptions): LeaderboardEntry[] {
  const summaries = table.metric(metric);
  const [values, steps] = goal === 'MIN' ? [summaries.min, summaries.minStep] : [summaries.max, summaries.maxStep];
  const rows = rowsThatPass(table, { states: [...options.states] }).filter((row) => !Number.isNaN(values[row]));
  const { groupOf, groupCount } = options.groupBy === null ? { groupOf: groupsFrom0(rows.length), groupCount: rows.length } : grouped(table, rows, options.groupBy);
  const groups = statisticsOf(table, rows, groupOf, groupCount, values, goal === 'MIN' ? 1 : -1);
  const compare = (a: number, b: number): number => groups.cost[a]! - groups.cost[b]! || (table.ids[groups.bestRow[a]!]! < table.ids[groups.bestRow[b]!]! ? -1 : 1);
  const best = leastOf(groupsFrom0(groupCount), options.first, compare);
  const members = membersOf(best, rows, groupOf);
  return best.map((group, index) => {
    const bestRow = groups.bestRow[group]!;
    const groupValues = (options.groupBy ?? []).map((key) => {
      const column = table.column(`config:${key}`);
      return column.values[column.codes[bestRow]!] ?? null;
    });
    const { mean, deviation } = meanAndDeviation(members[index]!.map((row) => values[row]!));
    return {
      rank: index + 1, groupValues, jobCount: groups.count[group]!, mean, standardDeviation: deviation,
      bestJobId: table.ids[bestRow]!, bestValue: values[bestRow]!, bestStep: steps[bestRow]!,
    };
  });
}

function groupsFrom0(count: number): Int32Array {
  const groups = new Int32Array(count);
  for (let group = 0; group < count; group += 1) groups[group] = group;
  return groups;
}

/** The rows of each of these groups. */
function membersOf(groups: readonly number[], rows: readonly number[], groupOf: Int32Array): number[][] {
  const members = groups.map((): number[] => []);
  if (groups.length === 0) return members;
  const listOf = new Map<number, number[]>();
  for (const [place, group] of groups.entries()) listOf.set(group, members[place]!);
  for (let index = 0; index < rows.length; index += 1) listOf.get(groupOf[index]!)?.push(rows[index]!);
  return members;
}

/** The number of the group of each of the rows: those that agree in all keys have one. A job that lacks a key counts as one with null. */
function grouped(table: JobTable, rows: readonly number[], keys: readonly string[]): { groupOf: Int32Array; groupCount: number } {
  const groupOf = new Int32Array(rows.length);
  let groupCount = Math.min(1, rows.length);
  for (const key of keys) {
    const column = table.column(`config:${key}`);
    const width = column.values.length;
    const codes = column.values.map((value, code) => (value === undefined || value === null ? 0 : code));
    const numbers = pairNumbers(groupCount * width);
    let next = 0;
    for (let index = 0; index < rows.length; index += 1) {
      const pair = groupOf[index]! * width + codes[column.codes[rows[index]!]!]!;
      let number = numbers.get(pair);
      if (number === 0) numbers.set(pair, (number = next += 1));
      groupOf[index] = number - 1;
    }
    groupCount = next;
  }
  return { groupOf, groupCount };
}

/** Numbers of pairs, from 1; 0 for a pair that has none yet. */
function pairNumbers(pairCount: number): { get: (pair: number) => number; set: (pair: number, number: number) => void } {
  if (pairCount <= MAX_DENSE_PAIRS) {
    const dense = new Int32Array(pairCount);
    return { get: (pair) => dense[pair]!, set: (pair, number) => { dense[pair] = number; } };
  }
  const sparse = new Map<number, number>();
  return { get: (pair) => sparse.get(pair) ?? 0, set: (pair, number) => { sparse.set(pair, number); } };
}

interface Groups {
  count: Int32Array;
  /** Of the mean, less is better. */
  cost: Float64Array;
  /** The row with the best value, of equals the one with the least id. */
  bestRow: Int32Array;
}

function statisticsOf(table: JobTable, rows: readonly number[], groupOf: Int32Array, groupCount: number, values: readonly number[], sign: 1 | -1): Groups {
  const count = new Int32Array(groupCount);
  const bestRow = new Int32Array(groupCount).fill(-1);
  const cost = new Float64Array(groupCount);
  for (let index = 0; index < rows.length; index += 1) {
    const [row, group] = [rows[index]!, groupOf[index]!];
    count[group]! += 1;
    cost[group]! += sign * values[row]!;
    const best = bestRow[group]!;
    const difference = best === -1 ? -1 : sign * (values[row]! - values[best]!);
    if (difference < 0 || (difference === 0 && table.ids[row]! < table.ids[best]!)) bestRow[group] = row;
  }
  // The sum of large values may be more than a double holds, where their mean is not.
  const overflowing: number[] = [];
  for (let group = 0; group < groupCount; group += 1) {
    if (!Number.isFinite(cost[group])) overflowing.push(group);
    cost[group]! /= count[group]!;
  }
  const members = membersOf(overflowing, rows, groupOf);
  for (const [place, group] of overflowing.entries()) cost[group] = sign * meanAndDeviation(members[place]!.map((row) => values[row]!)).mean;
  return { count, cost, bestRow };
}

/** Mean and standard deviation of the sample (null of one value), also where squares are more than a double holds. */
function meanAndDeviation(values: readonly number[]): { mean: number; deviation: number | null } {
  const greatest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const scale = greatest > SQUARES_OVERFLOW_ABOVE ? greatest : 1;
  const mean = values.reduce((sum, value) => sum + value / scale, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value / scale - mean) ** 2, 0);
  const deviation = values.length === 1 ? null : Math.min(Math.sqrt(squares / (values.length - 1)) * scale, Number.MAX_VALUE);
  return { mean: mean * scale, deviation };
}

/**
 * A search space and the jobs it stands for: list x random draws x grid x seeds, laid over a base configuration.
 * The order is fixed (the list varies slowest, the seeds fastest) and the draws follow from the recorded seed, so the
 * same space always expands to the same jobs.
 */
import { configLeaves, isJsonObject, nestDottedKeys, setAllDotted } from './config-values.ts';
import type { ConfigLeaf } from './config-values.ts';
import type { Json, JsonObject } from './job-spec.ts';
import { drawParameters } from './sweep-draws.ts';
import type { RandomSpace } from './sweep-draws.ts';

export interface GridAxis {
  key: string;
  values: Json[];
}

export interface SeedAxis {
  /** The config key that takes the seed; `seed` when absent. */
  key?: string;
  values: number[];
}

export interface SweepSpace {
  base?: JsonObject;
  grid?: GridAxis[];
  /** Whole variants; each is laid over the base value by value. */
  list?: JsonObject[];
  random?: RandomSpace;
  seeds?: SeedAxis;
}

/** One job of a sweep. */
export interface ExpandedJob {
  /** Place in the expansion, from 0. */
  index: number;
  config: JsonObject;
  /** What the space (not its base) set in this job, in the order list, random, grid, seed. */
  axes: ConfigLeaf[];
}

/** Seeds on top of another part do not change what a sweep is. MIXED: more than one of list, random draws and grid. */
export const SWEEP_STRATEGIES = ['SINGLE', 'GRID', 'LIST', 'RANDOM', 'SEEDS', 'MIXED'] as const;
export type SweepStrategy = (typeof SWEEP_STRATEGIES)[number];

export const DEFAULT_SEED_KEY = 'seed';

/** How many jobs a space stands for, without expanding it; Infinity when a number cannot hold it. */
export function sweepSize(space: SweepSpace): number {
  const factors = [
    space.list?.length ?? 1,
    space.random?.count ?? 1,
    ...(space.grid ?? []).map((axis) => axis.values.length),
    space.seeds?.values.length ?? 1,
  ];
  return Number(factors.reduce((product, factor) => product * BigInt(Number.isFinite(factor) ? Math.trunc(factor) : 0), 1n));
}

export function sweepStrategy(space: SweepSpace): SweepStrategy {
  const parts: SweepStrategy[] = [];
  if (space.list) parts.push('LIST');
  if (space.random) parts.push('RANDOM');
  if (space.grid && space.grid.length > 0) parts.push('GRID');
  const [only] = parts;
  if (parts.length > 1) return 'MIXED';
  return only ?? (space.seeds ? 'SEEDS' : 'SINGLE');
}

/** The space with a seed for its draws: the one it has, else the fresh one (an integer of 0 or more). */
export function withRecordedSeed(space: SweepSpace, freshSeed: number): SweepSpace {
  if (!space.random) return space;
  return { ...space, random: { ...space.random, seed: space.random.seed ?? freshSeed } };
}

/**
 * Every job of a space that `validateSweepSpace` accepts. Jobs that come out equal are all kept: duplicates are found
 * by fingerprint. Throws when the space has random draws and no recorded seed.
 */
export function expandSweep(space: SweepSpace): ExpandedJob[] {
  const levels: ConfigLeaf[][][] = [];
  if (space.list) levels.push(space.list.map((variant) => configLeaves(nestDottedKeys(variant))));
  if (space.random) levels.push(drawParameters(space.random));
  for (const { key, values } of space.grid ?? []) levels.push(values.map((value) => [{ key, value }]));
  if (space.seeds) {
    const { key = DEFAULT_SEED_KEY, values } = space.seeds;
    levels.push(values.map((value) => [{ key, value }]));
  }
  const jobs: ExpandedJob[] = [];
  const descend = (depth: number, config: JsonObject, axes: ConfigLeaf[]): void => {
    const options = levels[depth];
    if (options === undefined) {
      jobs.push({ index: jobs.length, config, axes });
      return;
    }
    for (const option of options) {
      const laidOver = setAllDotted(config, option.map(({ key, value }) => ({ key, value: nested(value) })));
      descend(depth + 1, laidOver, [...axes, ...option]);
    }
  };
  descend(0, nestDottedKeys(space.base ?? {}), []);
  return jobs;
}

function nested(value: Json): Json {
  return isJsonObject(value) ? nestDottedKeys(value) : value;
}

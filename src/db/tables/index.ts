/** Every table, as drizzle and the migration generator want them: in one namespace. */
export * from './access.ts';
export * from './attempts.ts';
export * from './batches.ts';
export * from './checkpoint-requests.ts';
export * from './checkpoints.ts';
export * from './clusters.ts';
export * from './events.ts';
export * from './experiments.ts';
export * from './jobs.ts';
export * from './metrics.ts';
export * from './orphans.ts';
export * from './projects.ts';
export * from './results.ts';
export * from './sweeps.ts';

/**
 * Places where a process may be told to die at once (EXPGRAPH_CRASH_AT), so that a test can show what a crash there leaves
 * behind. Nothing happens at any of them unless that variable names it.
 */
export const CRASH_POINTS = [
  'dispatch-before-record', 'dispatch-after-record', 'dispatch-after-sbatch', 'dispatch-after-commit',
  'harvest-before-commit', 'harvest-after-commit', 'end-before-commit', 'end-after-commit', 'cancel-before', 'cancel-after',
  'checkpoints-before-run', 'checkpoints-after-run', 'checkpoints-after-commit',
  'roll-up-before-commit', 'roll-up-after-commit',
] as const;
export type CrashPoint = (typeof CRASH_POINTS)[number];

let armed: CrashPoint | null = null;

/** Makes this process end, as by `kill -9`, when it next comes to the point. */
export function armCrashPoint(point: CrashPoint | null): void {
  armed = point;
}

export function crashPoint(point: CrashPoint): void {
  if (point === armed) process.kill(process.pid, 'SIGKILL');
}

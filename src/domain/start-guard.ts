/**
 * The start guard of an attempt: a directory on the cluster's file system that only one execution can put there, with its name in it.
 * Whoever did runs the attempt, so an attempt follows the job that holds its guard, whatever was submitted twice. Every other execution
 * ends without running anything.
 */

/**
 * How an execution ends that found the guard taken. No proof by itself, for a command may end with it, too: the guard's owner and
 * the record of the refusal are. Chosen because neither shells, nor Python, nor sysexits.h, nor a death by signal give it.
 */
export const REFUSED_EXIT_CODE = 119;

/** Who holds a guard. */
export interface GuardOwner {
  /** `123` or `123_4`; null for a process of the local machine. */
  slurmJobId: string | null;
  /** Null for a SLURM job. */
  pid: number | null;
  /** The batch that it was submitted with; null where the guard does not say. */
  token: string | null;
}

/** Reads the owner file of a guard: `slurm 123_4` or `pid 4711`, then `batch <token>`. Null when it names nobody. */
export function parseGuardOwner(text: string): GuardOwner | null {
  const slurmJobId = /^slurm (\d+(?:_\d+)?)$/m.exec(text)?.[1] ?? null;
  const pid = /^pid (\d+)$/m.exec(text)?.[1];
  if (slurmJobId === null && pid === undefined) return null;
  return { slurmJobId, pid: pid === undefined ? null : Number(pid), token: /^batch (\S+)$/m.exec(text)?.[1] ?? null };
}

/**
 * A job directory with more files than are looked at takes many commands and seconds of a core to list, on the cluster and here. While its job
 * runs it is left alone for a multiple of that time; that the job has ended is seen at once, as ever.
 */

/** So that listing takes a twentieth of the time, at the most. */
const REST_FACTOR = 20;
/** Shorter than the tour over all jobs takes, which then always looks. */
const MAX_REST_MS = 45_000;

export class ListRests {
  readonly #until = new Map<string, number>();

  isResting(jobId: string, now: Date): boolean {
    return (this.#until.get(jobId) ?? 0) > now.getTime();
  }

  /** @param listMs how long it took to list the directory of the job; null where it has not too many files, or there is more to read at once */
  note(jobId: string, listMs: number | null, now: Date): void {
    for (const [other, until] of this.#until) if (until <= now.getTime()) this.#until.delete(other);
    if (listMs === null) this.#until.delete(jobId);
    else this.#until.set(jobId, now.getTime() + Math.min(MAX_REST_MS, REST_FACTOR * listMs));
  }
}

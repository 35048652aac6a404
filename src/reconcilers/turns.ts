interface Turn {
  /** Null: all of them. */
  jobIds: ReadonlySet<string> | null;
  over: Promise<unknown>;
}

/** Pieces of work on jobs. Those on the same job do not overlap, and each is begun when those before it are over; others do not wait for each other. */
export class Turns {
  #turns: readonly Turn[] = [];

  /**
   * What comes of the work, once it had its turn.
   * @param jobIds on which it works; null: on any
   */
  take<Result>(jobIds: Iterable<string> | null, work: () => Promise<Result>): Promise<Result> {
    const wanted = jobIds === null ? null : new Set(jobIds);
    const before = this.#turns.filter((turn) => shareJobs(turn.jobIds, wanted));
    const result = Promise.all(before.map(({ over }) => over)).then(work);
    const over = result.catch(() => undefined).finally(() => { this.#turns = this.#turns.filter((each) => each !== turn); });
    const turn: Turn = { jobIds: wanted, over };
    this.#turns = [...this.#turns, turn];
    return result;
  }

  /** Whether work on the job would have to wait. */
  isTaken(jobId: string): boolean {
    return this.#turns.some(({ jobIds }) => jobIds === null || jobIds.has(jobId));
  }
}

function shareJobs(some: ReadonlySet<string> | null, others: ReadonlySet<string> | null): boolean {
  return some === null || others === null || [...others].some((jobId) => some.has(jobId));
}

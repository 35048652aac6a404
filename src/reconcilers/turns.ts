/** Pieces of work that must not overlap, each begun when those before it are over. */
export class Turns {
  #last: Promise<unknown> = Promise.resolve();

  /** What comes of the work, once it had its turn. */
  take<Result>(work: () => Promise<Result>): Promise<Result> {
    const turn = this.#last.then(work);
    this.#last = turn.catch(() => undefined);
    return turn;
  }
}

/** Many events as few announcements of change. */

/**
 * Announces at once, then after changes: at most once per interval, and always once more after the last event. Ends and fails
 * with its source. `return` ends it at any time, also while a `next` waits, which an async generator would not.
 */
export class Changes implements AsyncIterableIterator<true> {
  readonly #source: AsyncIterator<unknown>;
  readonly #intervalMs: number;
  #changed = true;
  #announcedAt = Number.NEGATIVE_INFINITY;
  #ended = false;
  #failure: { error: unknown } | null = null;
  #wake: () => void = () => undefined;

  constructor(source: AsyncIterator<unknown>, intervalMs: number) {
    this.#source = source;
    this.#intervalMs = intervalMs;
    void this.#follow();
  }

  async next(): Promise<IteratorResult<true>> {
    for (;;) {
      const waitMs = this.#announcedAt + this.#intervalMs - performance.now();
      if (this.#changed && waitMs <= 0) {
        this.#changed = false;
        this.#announcedAt = performance.now();
        return { done: false, value: true };
      }
      // What changed last is announced even when the source has ended meanwhile.
      if (this.#ended && !this.#changed) return this.#end();
      await this.#sleep(this.#changed ? waitMs : null);
    }
  }

  async return(): Promise<IteratorResult<true>> {
    this.#changed = false;
    this.#ended = true;
    this.#wake();
    await this.#source.return?.();
    return { done: true, value: undefined };
  }

  async throw(error: unknown): Promise<IteratorResult<true>> {
    await this.return();
    throw error;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #end(): IteratorResult<true> {
    const failure = this.#failure;
    this.#failure = null;
    if (failure !== null) throw failure.error;
    return { done: true, value: undefined };
  }

  async #follow(): Promise<void> {
    try {
      while ((await this.#source.next()).done !== true) {
        if (this.#ended) return;
        this.#changed = true;
        this.#wake();
      }
    } catch (error) {
      this.#failure = { error };
    }
    this.#ended = true;
    this.#wake();
  }

  /** Until something happens, or the time is up. */
  async #sleep(ms: number | null): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      if (ms !== null) timer = setTimeout(resolve, ms);
    });
    clearTimeout(timer);
  }
}

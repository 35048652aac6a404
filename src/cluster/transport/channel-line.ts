/** A first-come-first-served line for the channels of one connection, of which sshd opens only so many at once. */
export class ChannelLine {
  readonly #waiting: (() => void)[] = [];
  readonly #limit: number;
  #activeCount = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Places that are taken. */
  get activeCount(): number {
    return this.#activeCount;
  }

  /** Waits for a free place; answers the function that gives it back (a second call of which does nothing). */
  async enter(): Promise<() => void> {
    if (this.#activeCount >= this.#limit) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#activeCount += 1;
    let left = false;
    return () => {
      if (left) return;
      left = true;
      this.#leave();
    };
  }

  #leave(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#activeCount -= 1;
    else next();
  }
}

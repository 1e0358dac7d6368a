/** Wakes those who wait for a change; who looked before it rang does not miss it. */
export class Bell {
  rung = 0;
  #waiting = new Set<() => void>();

  ring(): void {
    this.rung += 1;
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const wake of waiting) wake();
  }

  /** When it has rung more often than `seen` times. */
  heard(seen: number, signal: AbortSignal): Promise<void> {
    if (this.rung !== seen) return Promise.resolve();
    return new Promise((resolve) => {
      this.#waiting.add(resolve);
      signal.addEventListener("abort", () => resolve(), { once: true });
    });
  }
}

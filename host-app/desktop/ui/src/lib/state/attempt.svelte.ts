// What somebody tries in a page or dialog, and what went wrong with it.
import { failureOf } from "../failure.js";
import type { Failure } from "../failure.js";

export class Attempt {
  /** Of the last one; gone when the next one begins. */
  failure = $state.raw<Failure>();
  busy = $state(false);

  /** Whether it worked. */
  async run(work: () => Promise<unknown>): Promise<boolean> {
    this.failure = undefined;
    this.busy = true;
    try {
      await work();
      return true;
    } catch (error) {
      this.failure = failureOf(error);
      return false;
    } finally {
      this.busy = false;
    }
  }

  dismiss(): void {
    this.failure = undefined;
  }
}

// A stream that is to be there as long as somebody looks: begun again when it breaks.

const FIRST_WAIT = 250;
const LONGEST_WAIT = 5000;

export interface Follower {
  stop(): void;
}

export interface Following<T> {
  open(signal: AbortSignal): AsyncIterable<T>;
  /** What has come. */
  each(item: T): void;
  /** It broke, or ended, which for these streams is the same; it is tried again by itself. */
  lost(error: unknown): void;
}

export function follow<T>(following: Following<T>): Follower {
  const abort = new AbortController();
  void run(following, abort.signal);
  return { stop: () => abort.abort() };
}

async function run<T>({ open, each, lost }: Following<T>, signal: AbortSignal): Promise<void> {
  let wait = FIRST_WAIT;
  while (!signal.aborted) {
    try {
      for await (const item of open(signal)) {
        if (signal.aborted) return;
        wait = FIRST_WAIT;
        each(item);
      }
      if (!signal.aborted) lost(new Error("the connection has ended"));
    } catch (error) {
      if (!signal.aborted) lost(error);
    }
    await pause(wait, signal);
    wait = Math.min(wait * 2, LONGEST_WAIT);
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener(
      "abort",
      () => {
        clearTimeout(timer);
        resolve();
      },
      { once: true },
    );
  });
}

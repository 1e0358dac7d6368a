// A list of the machine's things, kept up to date by its events. Nothing is polled: the list is
// asked for once, and again after something happened that concerns it.
import type { Api } from "../api.js";
import { failureOf } from "../failure.js";
import type { Failure } from "../failure.js";
import { follow } from "./follow.js";
import type { Follower } from "./follow.js";

/** Events come in bursts: a start is five of them. One list answers a burst. */
const BURST = 60;

export abstract class Listed<T> {
  items = $state.raw<T[]>([]);
  /** Before the first list, and while the machine cannot be heard. */
  stale = $state(true);
  away = $state.raw<Failure>();
  /** By id: what an action failed with. */
  failures = $state.raw<ReadonlyMap<string, Failure>>(new Map());
  /** Ids with an action under way. */
  busy = $state.raw<ReadonlySet<string>>(new Set());

  protected readonly api: Api;
  #types: readonly string[];
  #follower: Follower | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** `types`: of the events that concern the list. */
  protected constructor(api: Api, types: readonly string[]) {
    this.api = api;
    this.#types = types;
  }

  protected abstract list(options: { signal?: AbortSignal }): Promise<T[]>;

  follow(): void {
    this.#follower ??= follow({
      open: (signal) => this.#changes(signal),
      each: () => this.#soon(),
      lost: (error) => {
        this.stale = true;
        this.away = failureOf(error);
      },
    });
  }

  close(): void {
    this.#follower?.stop();
    this.#follower = undefined;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.stale = true;
  }

  /** The present state, then each change. The listening begins before the list is asked for, so
   * nothing falls between them. */
  async *#changes(signal: AbortSignal): AsyncGenerator<undefined> {
    const filters = this.#types.map((type) => `type=${type}`);
    const events = this.api.events.events({ filters }, { signal })[Symbol.asyncIterator]();
    let next = events.next();
    // Its failure is told where it is awaited.
    next.catch(() => {});
    await this.#read({ signal });
    for (;;) {
      const { done } = await next;
      if (done) return;
      yield undefined;
      next = events.next();
      next.catch(() => {});
    }
  }

  /** For what makes things without an event, as a build does. */
  refresh(): void {
    if (this.#follower) this.#soon();
  }

  #soon(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      // Lost with the connection, and then so is the stream of events, which says it.
      this.#read({}).catch(() => {});
    }, BURST);
  }

  async #read(options: { signal?: AbortSignal }): Promise<void> {
    const items = await this.list(options);
    if (options.signal?.aborted) return;
    this.items = items;
    this.stale = false;
    this.away = undefined;
  }

  /** Does something to all of them at once; each failure is kept by its id. */
  async each(ids: readonly string[], work: (id: string) => Promise<unknown>): Promise<void> {
    await Promise.all(ids.map((id) => this.one(id, work)));
  }

  /** Whether it worked. */
  async one(id: string, work: (id: string) => Promise<unknown>): Promise<boolean> {
    this.busy = new Set(this.busy).add(id);
    this.dismiss(id);
    try {
      await work(id);
      return true;
    } catch (error) {
      this.failures = new Map(this.failures).set(id, failureOf(error));
      return false;
    } finally {
      const busy = new Set(this.busy);
      busy.delete(id);
      this.busy = busy;
    }
  }

  dismiss(id: string): void {
    const failures = new Map(this.failures);
    if (failures.delete(id)) this.failures = failures;
  }
}

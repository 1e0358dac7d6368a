// Every container of the machine, kept up to date by its events. Nothing is polled: a list is asked
// for once, and again after something happened to a container.
import { ContainerState } from "../../gen/linkspan/v1/container_pb.js";
import type { ContainerSummary } from "../../gen/linkspan/v1/container_pb.js";
import type { Api } from "../api.js";
import { failureOf } from "../failure.js";
import type { Failure } from "../failure.js";
import { follow } from "./follow.js";
import type { Follower } from "./follow.js";

export type { ContainerSummary };
export { ContainerState };

export type Action = "start" | "stop" | "restart" | "pause" | "unpause" | "kill" | "remove";

/** Events come in bursts: a start is five of them. One list answers a burst. */
const BURST = 60;
/** Of compose, which every tool that groups containers follows. */
const PROJECT = "com.docker.compose.project";

export class ContainerStore {
  containers = $state.raw<ContainerSummary[]>([]);
  /** Before the first list, and while the machine cannot be heard. */
  stale = $state(true);
  away = $state.raw<Failure>();
  /** By container: what an action failed with. */
  failures = $state.raw<ReadonlyMap<string, Failure>>(new Map());
  /** Containers with an action under way. */
  busy = $state.raw<ReadonlySet<string>>(new Set());

  #api: Api;
  #follower: Follower | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(api: Api) {
    this.#api = api;
  }

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
    this.stale = true;
  }

  /** The present state, then each change. The listening begins before the list is asked for, so
   * nothing falls between them. */
  async *#changes(signal: AbortSignal): AsyncGenerator<undefined> {
    const filters = ["type=container"];
    const events = this.#api.events.events({ filters }, { signal })[Symbol.asyncIterator]();
    let next = events.next();
    // Its failure is told where it is awaited.
    next.catch(() => {});
    await this.#list(signal);
    for (;;) {
      const { done } = await next;
      if (done) return;
      yield undefined;
      next = events.next();
      next.catch(() => {});
    }
  }

  #soon(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      // Lost with the connection, and then so is the stream of events, which says it.
      this.#list().catch(() => {});
    }, BURST);
  }

  async #list(signal?: AbortSignal): Promise<void> {
    const options = signal ? { signal } : {};
    const { containers } = await this.#api.containers.list({ all: true }, options);
    this.containers = containers;
    this.stale = false;
    this.away = undefined;
  }

  /** Does it to all of them at once; each failure is kept by its container. */
  async act(action: Action, ids: readonly string[]): Promise<void> {
    await Promise.all(ids.map((id) => this.#actOn(action, id)));
  }

  async #actOn(action: Action, container: string): Promise<void> {
    this.busy = new Set(this.busy).add(container);
    this.dismiss(container);
    try {
      await this.#call(action, container);
    } catch (error) {
      this.failures = new Map(this.failures).set(container, failureOf(error));
    } finally {
      const busy = new Set(this.busy);
      busy.delete(container);
      this.busy = busy;
    }
  }

  dismiss(container: string): void {
    const failures = new Map(this.failures);
    if (failures.delete(container)) this.failures = failures;
  }

  #call(action: Action, container: string): Promise<unknown> {
    const { containers } = this.#api;
    switch (action) {
      case "start":
        return containers.start({ container });
      case "stop":
        return containers.stop({ container });
      case "restart":
        return containers.restart({ container });
      case "pause":
        return containers.pause({ container });
      case "unpause":
        return containers.unpause({ container });
      case "kill":
        return containers.kill({ container });
      case "remove":
        return containers.remove({ container, force: true, volumes: true });
    }
  }
}

export interface Group {
  /** Empty: containers of no project. */
  project: string;
  containers: ContainerSummary[];
}

/** By compose project, those without one first; newest first within. */
export function grouped(containers: readonly ContainerSummary[]): Group[] {
  const groups = new Map<string, ContainerSummary[]>();
  const newest = containers.toSorted((a, b) => (a.createdUnixNanos < b.createdUnixNanos ? 1 : -1));
  for (const container of newest) {
    const project = container.labels[PROJECT] ?? "";
    const group = groups.get(project);
    if (group) group.push(container);
    else groups.set(project, [container]);
  }
  return [...groups]
    .map(([project, members]) => ({ project, containers: members }))
    .toSorted((a, b) => a.project.localeCompare(b.project));
}

/** Words that are all to be found in name, image, id, state or a label. */
export function matches(container: ContainerSummary, words: string): boolean {
  const { name, image, id, labels } = container;
  const state = stateName(container.state);
  const text = [name, image, id, state, ...Object.entries(labels).map((label) => label.join("="))]
    .join(" ")
    .toLowerCase();
  return words
    .toLowerCase()
    .split(/\s+/)
    .every((word) => text.includes(word));
}

export function stateName(state: ContainerState): string {
  return (ContainerState[state] ?? "unknown").toLowerCase();
}

/** What may be done in this state, as the engine rules it. */
export function actions(state: ContainerState): Action[] {
  switch (state) {
    case ContainerState.RUNNING:
      return ["stop", "restart", "pause", "kill"];
    case ContainerState.PAUSED:
      return ["unpause", "stop", "kill"];
    case ContainerState.RESTARTING:
      return ["stop", "kill"];
    case ContainerState.CREATED:
    case ContainerState.EXITED:
      return ["start", "remove"];
    default:
      return ["remove"];
  }
}

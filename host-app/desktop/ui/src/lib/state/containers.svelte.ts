// Every container of the machine.
import { create } from "@bufbuild/protobuf";
import {
  ContainerState,
  ListContainersResponseSchema,
} from "../../gen/linkspan/v1/container_pb.js";
import type { ContainerSummary } from "../../gen/linkspan/v1/container_pb.js";
import type { Api } from "../api.js";
import { fits } from "../search.js";
import { Listed } from "./listed.svelte.js";
import { recall, remember } from "./remembered.js";

export type { ContainerSummary };
export { ContainerState };

export type Action = "start" | "stop" | "restart" | "pause" | "unpause" | "kill" | "remove";

/** Of compose, which every tool that groups containers follows. */
const PROJECT = "com.docker.compose.project";

export class ContainerStore extends Listed<ContainerSummary> {
  constructor(api: Api) {
    // Who joins or leaves a network is told as the network's event.
    super(api, ["container", "network"]);
    this.items = recall(ListContainersResponseSchema)?.containers ?? [];
  }

  get containers(): ContainerSummary[] {
    return this.items;
  }

  protected async list(options: { signal?: AbortSignal }): Promise<ContainerSummary[]> {
    const { containers } = await this.api.containers.list({ all: true }, options);
    remember(ListContainersResponseSchema, create(ListContainersResponseSchema, { containers }));
    return containers;
  }

  async act(action: Action, ids: readonly string[]): Promise<void> {
    await this.each(ids, (id) => this.#call(action, id));
  }

  #call(action: Action, container: string): Promise<unknown> {
    const { containers } = this.api;
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

/** By name, image, id, state and labels. */
export function matches(container: ContainerSummary, words: string): boolean {
  const { name, image, id, labels } = container;
  const marks = Object.entries(labels).map((label) => label.join("="));
  return fits(words, name, image, id, stateName(container.state), ...marks);
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

// Every network of the machine, and who is in it.
import type { ContainerSummary } from "../../gen/linkspan/v1/container_pb.js";
import type { Network } from "../../gen/linkspan/v1/network_pb.js";
import type { Api } from "../api.js";
import { Listed } from "./listed.svelte.js";

export type { Network };

/** These are always there. */
const BUILT_IN = ["bridge", "host", "none"];

export class NetworkStore extends Listed<Network> {
  constructor(api: Api) {
    // Its endpoints are those of containers that run.
    super(api, ["network", "container"]);
  }

  protected async list(options: { signal?: AbortSignal }): Promise<Network[]> {
    const { networks } = await this.api.networks.list({}, options);
    return networks.toSorted((a, b) => nameOf(a).localeCompare(nameOf(b)));
  }
}

export function nameOf(network: Network): string {
  return network.spec?.name ?? network.id;
}

export function isBuiltIn(network: Network): boolean {
  return BUILT_IN.includes(nameOf(network));
}

export function subnetsOf(network: Network): string {
  return (network.spec?.pools ?? []).map(({ subnet }) => subnet).join(", ");
}

/** Those that are in it, running or not. */
export function membersOf(
  network: Network,
  containers: readonly ContainerSummary[],
): ContainerSummary[] {
  const name = nameOf(network);
  return containers.filter(({ networks }) => networks.includes(name));
}

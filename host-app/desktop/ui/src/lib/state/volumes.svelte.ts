// Every volume of the machine, and who has it.
import type { ContainerSummary } from "../../gen/linkspan/v1/container_pb.js";
import { MountType } from "../../gen/linkspan/v1/mount_pb.js";
import type { Volume } from "../../gen/linkspan/v1/volume_pb.js";
import type { Api } from "../api.js";
import { Listed } from "./listed.svelte.js";

export type { Volume };

/** How Docker marks a volume that nobody gave a name. */
const ANONYMOUS = "com.docker.volume.anonymous";

export class VolumeStore extends Listed<Volume> {
  constructor(api: Api) {
    super(api, ["volume"]);
  }

  protected async list(options: { signal?: AbortSignal }): Promise<Volume[]> {
    const { volumes } = await this.api.volumes.list({}, options);
    return volumes.toSorted((a, b) => a.name.localeCompare(b.name));
  }
}

export function isAnonymous(volume: Volume): boolean {
  return ANONYMOUS in volume.labels;
}

export function usersOf(name: string, containers: readonly ContainerSummary[]): ContainerSummary[] {
  return containers.filter(({ mounts }) =>
    mounts.some((mount) => mount.type === MountType.VOLUME && mount.name === name),
  );
}

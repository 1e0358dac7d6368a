// All that the pages share: what is known of the machine, and what is under way.
import type { Api } from "./api.js";
import type { Shell } from "./shell.js";
import { ContainerStore } from "./state/containers.svelte.js";
import { CrossingStore } from "./state/crossing.svelte.js";
import { ImageStore } from "./state/images.svelte.js";
import { MachineStore } from "./state/machine.svelte.js";
import { NetworkStore } from "./state/networks.svelte.js";
import { TaskStore } from "./state/tasks.svelte.js";
import type { System } from "./system.js";
import { VolumeStore } from "./state/volumes.svelte.js";

export class Stores {
  readonly shell: Shell;
  readonly machine: MachineStore;
  readonly containers: ContainerStore;
  readonly images: ImageStore;
  readonly volumes: VolumeStore;
  readonly networks: NetworkStore;
  readonly crossing: CrossingStore;
  readonly tasks = new TaskStore(() => this.images.refresh());
  /** Known once the daemon has answered. */
  os = $state<System>("linux");

  constructor(api: Api, shell: Shell) {
    this.shell = shell;
    this.machine = new MachineStore(api);
    this.containers = new ContainerStore(api);
    this.images = new ImageStore(api);
    this.volumes = new VolumeStore(api);
    this.networks = new NetworkStore(api);
    this.crossing = new CrossingStore(api);
  }

  get #lists() {
    return [this.containers, this.images, this.volumes, this.networks];
  }

  follow(): void {
    for (const list of this.#lists) list.follow();
  }

  /** What is known stays in sight. */
  unfollow(): void {
    for (const list of this.#lists) list.close();
  }

  close(): void {
    this.unfollow();
    this.machine.close();
  }
}

// The machine as the daemon tells it: state, phases, figures. The last known one stays, marked as
// stale, while the daemon is away.
import { MachineSchema, MachineState } from "../../gen/linkspan/host/v1/machine_pb.js";
import type { Machine, MachineSettingsPatch } from "../../gen/linkspan/host/v1/machine_pb.js";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { MachineSettingsPatchSchema } from "../../gen/linkspan/host/v1/machine_pb.js";
import { ErrorCode } from "../../gen/linkspan/v1/error_pb.js";
import type { Api } from "../api.js";
import { failureOf } from "../failure.js";
import type { Failure } from "../failure.js";
import { Attempt } from "./attempt.svelte.js";
import { follow } from "./follow.js";
import { forget, recall, remember } from "./remembered.js";
import type { Follower } from "./follow.js";

export type { Machine, MachineSettingsPatch };

/** What the user has to know of it, which is more than its state. */
export type Condition =
  | "unknown"
  | "stopped"
  | "starting"
  /** It runs since before the daemon did, and is asked whether it is well. */
  | "asked"
  | "running"
  /** It runs and cannot go on: the host's disk is full, as a rule. */
  | "halted"
  | "stopping"
  | "failed"
  /** It failed, and its VM is still there. */
  | "stranded";

export function conditionOf(machine: Machine | undefined): Condition {
  switch (machine?.state) {
    case MachineState.STOPPED:
      return "stopped";
    case MachineState.STARTING:
      return machine.adopting ? "asked" : "starting";
    case MachineState.RUNNING:
      return machine.halted === "" ? "running" : "halted";
    case MachineState.STOPPING:
      return "stopping";
    case MachineState.FAILED:
      return machine.vmmPid === 0 ? "failed" : "stranded";
    default:
      return "unknown";
  }
}

export class MachineStore {
  machine = $state.raw<Machine>();
  /** Not (or no longer) what the daemon says now. */
  stale = $state(true);
  /** The daemon has none of this name: a start makes it. */
  absent = $state(false);
  /** Why the daemon cannot be heard. */
  away = $state.raw<Failure>();
  /** Said while it started, such as that this host is slow. */
  notices = $state.raw<string[]>([]);

  #api: Api;
  #name: string;
  #follower: Follower | undefined;
  #attempt = new Attempt();

  constructor(api: Api, name = "default") {
    this.#api = api;
    this.#name = name;
    this.machine = recall(MachineSchema);
  }

  get running(): boolean {
    return !this.stale && this.machine?.state === MachineState.RUNNING;
  }

  get condition(): Condition {
    return conditionOf(this.machine);
  }

  /** What the last action failed with. */
  get failure(): Failure | undefined {
    return this.#attempt.failure;
  }

  follow(): void {
    this.#follower ??= follow({
      open: (signal) => this.#api.machines.watch({ name: this.#name }, { signal }),
      each: ({ machine }) => {
        this.machine = machine;
        if (machine) remember(MachineSchema, machine);
        this.stale = this.absent = false;
        this.away = undefined;
      },
      lost: (error) => {
        const failure = failureOf(error);
        this.absent = failure.code === ErrorCode.NOT_FOUND;
        this.stale = !this.absent;
        this.away = this.absent ? undefined : failure;
        if (this.absent) {
          this.machine = undefined;
          forget(MachineSchema);
        }
      },
    });
  }

  close(): void {
    this.#follower?.stop();
    this.#follower = undefined;
  }

  async start(): Promise<void> {
    this.notices = [];
    await this.#attempt.run(async () => {
      for await (const { notice, machine } of this.#api.machines.start({ name: this.#name })) {
        if (notice) this.notices = [...this.notices, notice];
        // It is there now, and can be followed.
        if (machine && this.absent) {
          this.absent = false;
          this.close();
          this.follow();
        }
      }
    });
  }

  async stop(force = false): Promise<void> {
    await this.#attempt.run(() => this.#api.machines.stop({ name: this.#name, force }));
  }

  async restart(): Promise<void> {
    await this.stop();
    if (!this.failure) await this.start();
  }

  /** Throws what the daemon has against it. */
  async set(settings: MessageInitShape<typeof MachineSettingsPatchSchema>): Promise<void> {
    await this.#api.machines.update({ name: this.#name, settings });
  }
}

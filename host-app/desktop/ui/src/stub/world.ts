// A daemon, a machine and its containers in memory: for tests, and for looking at the pages without
// a VM (`npm run dev`, then `/?stub`). It is never part of the app.
import { create } from "@bufbuild/protobuf";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError, createRouterTransport } from "@connectrpc/connect";
import type { Transport } from "@connectrpc/connect";
import {
  MachineSchema,
  MachineService,
  MachineState,
  PhaseState,
} from "../gen/linkspan/host/v1/machine_pb.js";
import type { Machine } from "../gen/linkspan/host/v1/machine_pb.js";
import {
  ContainerDetailSchema,
  ContainerService,
  ContainerState,
  ContainerSummarySchema,
  LogStream,
} from "../gen/linkspan/v1/container_pb.js";
import type { ContainerSummary } from "../gen/linkspan/v1/container_pb.js";
import { ErrorCode, ErrorInfoSchema } from "../gen/linkspan/v1/error_pb.js";
import { EventService } from "../gen/linkspan/v1/event_pb.js";
import type { Presence, Shell } from "../lib/shell.js";

const PHASES = ["image", "kernel", "agent", "disk", "network", "shares", "ready"];

/** Wakes those who wait for a change; who looked before it rang does not miss it. */
class Bell {
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

export function failure(code: ErrorCode, message: string, hint = ""): ConnectError {
  const value = create(ErrorInfoSchema, { code, message, hint });
  return new ConnectError(message, Code.Unknown, undefined, [{ desc: ErrorInfoSchema, value }]);
}

export class World {
  machine: Machine = create(MachineSchema, {
    name: "default",
    state: MachineState.STOPPED,
    settings: { cpus: 2, memoryMib: 2048n, diskGib: 64n, kernel: "auto", accelerator: "auto" },
    driver: "qemu",
  });
  containers: ContainerSummary[] = [];
  /** By container id. */
  logs = new Map<string, string[]>();
  presence: Presence = { kind: "live", version: "0.1.0" };
  /** What the next call of this method (`Start`) fails with. */
  refuse = new Map<string, ConnectError>();
  /** What was asked, in order: `Stop web`. */
  asked: string[] = [];
  browsed: string[] = [];

  #machineBell = new Bell();
  #containerBell = new Bell();

  machineBecomes(change: MessageInitShape<typeof MachineSchema>): void {
    const { $typeName: _, $unknown: __, ...now } = this.machine;
    this.machine = create(MachineSchema, { ...now, ...change });
    this.#machineBell.ring();
  }

  runs(): void {
    this.machineBecomes({
      state: MachineState.RUNNING,
      phases: PHASES.map((name, index) => ({
        name,
        state: PhaseState.DONE,
        durationUs: BigInt(40_000 + index * 61_000),
        budgetUs: 12_000_000n,
      })),
      accelerator: "tcg",
      acceleratorReason: "this processor shows neither vmx nor svm",
      kernelRelease: "6.12.117-linkspan",
      hostMemoryBytes: 243_000_000n,
      diskAllocatedBytes: 31_000_000n,
      diskSizeBytes: 68_719_476_736n,
      usage: {
        memoryTotalBytes: 2_061_000_000n,
        memoryAvailableBytes: 1_961_000_000n,
        uptimeUs: 71_000_000n,
      },
    });
  }

  add(container: MessageInitShape<typeof ContainerSummarySchema>): ContainerSummary {
    const number = this.containers.length + 1;
    const added = create(ContainerSummarySchema, {
      id: number.toString(16).padStart(64, "0"),
      image: "busybox",
      command: ["sleep", "1000"],
      state: ContainerState.RUNNING,
      createdUnixNanos: BigInt(1_790_000_000 + number) * 1_000_000_000n,
      networks: ["bridge"],
      ...container,
    } as typeof container);
    this.containers = [...this.containers, added];
    this.#containerBell.ring();
    return added;
  }

  become(id: string, state: ContainerState): void {
    this.containers = this.containers.map((each) => (each.id === id ? { ...each, state } : each));
    this.#containerBell.ring();
  }

  say(id: string, lines: string[]): void {
    this.logs.set(id, (this.logs.get(id) ?? []).concat(lines));
    this.#containerBell.ring();
  }

  shell(): Shell {
    return {
      version: "0.1.0",
      connect: (start) => {
        if (start && this.presence.kind === "absent")
          this.presence = { kind: "live", version: "0.1.0" };
        return Promise.resolve(this.presence);
      },
      browse: (url) => {
        this.browsed.push(url);
        return Promise.resolve();
      },
    };
  }

  transport(): Transport {
    return createRouterTransport(({ service }) => {
      service(MachineService, {
        watch: (_, { signal }) => this.#watch(signal),
        start: (_, { signal }) => this.#start(signal),
        stop: () => {
          this.#asked("Stop", "machine");
          this.machineBecomes({ state: MachineState.STOPPED, phases: [] });
          return {};
        },
        update: ({ settings }) => {
          this.#asked("Update", "machine");
          const { cpus, memoryMib, diskGib, kernel } = settings ?? {};
          const now = this.machine.settings;
          this.machineBecomes({
            settings: {
              cpus: cpus ?? now?.cpus ?? 0,
              memoryMib: memoryMib ?? now?.memoryMib ?? 0n,
              diskGib: diskGib ?? now?.diskGib ?? 0n,
              kernel: kernel ?? now?.kernel ?? "",
            },
          });
          return { machine: this.machine };
        },
      });
      service(EventService, {
        events: (_, { signal }) => this.#events(signal),
      });
      service(ContainerService, {
        list: () => ({ containers: this.containers }),
        inspect: ({ container }) => ({
          container: create(ContainerDetailSchema, {
            summary: this.#find(container),
            env: ["PATH=/bin", "LANG=C.UTF-8"],
            workingDir: "/",
            startTrace: [{ name: "spawn", durationUs: 700n }],
          }),
        }),
        start: ({ container }) => this.#turn("Start", container, ContainerState.RUNNING),
        stop: ({ container }) => this.#turn("Stop", container, ContainerState.EXITED),
        restart: ({ container }) => this.#turn("Restart", container, ContainerState.RUNNING),
        pause: ({ container }) => this.#turn("Pause", container, ContainerState.PAUSED),
        unpause: ({ container }) => this.#turn("Unpause", container, ContainerState.RUNNING),
        kill: ({ container }) => this.#turn("Kill", container, ContainerState.EXITED),
        remove: ({ container }) => {
          this.#asked("Remove", this.#find(container).name);
          this.containers = this.containers.filter(({ id }) => id !== container);
          this.#containerBell.ring();
          return { id: container };
        },
        logs: ({ container }, { signal }) => this.#logs(container, signal),
      });
    });
  }

  #asked(what: string, whom: string): void {
    this.asked.push(`${what} ${whom}`);
    const refused = this.refuse.get(what);
    if (!refused) return;
    this.refuse.delete(what);
    throw refused;
  }

  #find(id: string): ContainerSummary {
    const found = this.containers.find((each) => each.id === id);
    if (!found) throw failure(ErrorCode.NOT_FOUND, `no such container: ${id}`);
    return found;
  }

  #turn(what: string, id: string, state: ContainerState): Record<string, never> {
    this.#asked(what, this.#find(id).name);
    this.become(id, state);
    return {};
  }

  async *#watch(signal: AbortSignal) {
    while (!signal.aborted) {
      const seen = this.#machineBell.rung;
      yield { machine: this.machine };
      await this.#machineBell.heard(seen, signal);
    }
  }

  async *#start(_signal: AbortSignal) {
    this.#asked("Start", "machine");
    yield { notice: "the VM runs slowly, under tcg: this processor shows neither vmx nor svm" };
    this.runs();
    yield { machine: this.machine };
  }

  async *#events(signal: AbortSignal) {
    for (let seen = this.#containerBell.rung; !signal.aborted; seen = this.#containerBell.rung) {
      await this.#containerBell.heard(seen, signal);
      if (!signal.aborted) {
        yield { kind: { case: "event" as const, value: { type: "container", action: "start" } } };
      }
    }
  }

  async *#logs(id: string, signal: AbortSignal) {
    const text = new TextEncoder();
    let sent = 0;
    while (!signal.aborted) {
      const seen = this.#containerBell.rung;
      const lines = this.logs.get(id) ?? [];
      while (sent < lines.length) {
        const batch = lines.slice(sent, sent + 1000);
        sent += batch.length;
        yield {
          records: batch.map((line) => ({
            unixNanos: 1_790_000_000_000_000_000n,
            stream: LogStream.STDOUT,
            line: text.encode(`${line}\n`),
          })),
        };
      }
      await this.#containerBell.heard(seen, signal);
    }
  }
}

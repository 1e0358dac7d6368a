// A daemon, a machine and its containers in memory: for tests, and for looking at the pages without
// a VM (`npm run dev`, then `/stub.html`). It is never part of the app.
import { create } from "@bufbuild/protobuf";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { createRouterTransport } from "@connectrpc/connect";
import type { ConnectError, Transport } from "@connectrpc/connect";
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
  ContainerStatsSchema,
  ContainerState,
  ContainerSummarySchema,
  LogStream,
} from "../gen/linkspan/v1/container_pb.js";
import type {
  AttachRequest,
  ContainerSummary,
  ExecRequest,
} from "../gen/linkspan/v1/container_pb.js";
import { AgentService, UsageResponseSchema } from "../gen/linkspan/v1/agent_pb.js";
import { FileService, PathStatSchema } from "../gen/linkspan/v1/files_pb.js";
import type { PathStat } from "../gen/linkspan/v1/files_pb.js";
import { HostService } from "../gen/linkspan/host/v1/host_pb.js";
import { ErrorCode } from "../gen/linkspan/v1/error_pb.js";
import { EventService } from "../gen/linkspan/v1/event_pb.js";
import type { Picked, Preferences, Presence, Shell } from "../lib/shell.js";
import { Bell } from "./bell.js";
import { Goods } from "./goods.js";
import { look, pause } from "./answers.js";
import { failure } from "./failure.js";

/** Until a container is said to run: its steps, and the way. */
const START_MS = 14;
/** Name, begin and length in microseconds, as a real start has them. */
const TRACE: [string, number, number][] = [
  ["cgroup", 0, 410],
  ["spawn", 410, 1830],
  ["network", 2240, 2900],
  ["order", 5140, 260],
  ["unshare", 5400, 720],
  ["overlay", 6120, 640],
  ["mounts", 6760, 980],
  ["devices", 7740, 310],
  ["pivot", 8050, 150],
  ["privileges", 8200, 120],
  ["seccomp", 8320, 380],
  ["execute", 8700, 900],
];
const PHASES = ["image", "kernel", "agent", "disk", "network", "shares", "ready"];

export { failure };

export class World {
  #machineBell = new Bell();
  #containerBell = new Bell();

  machine: Machine = create(MachineSchema, {
    name: "default",
    state: MachineState.STOPPED,
    settings: {
      cpus: 2,
      memoryMib: 2048n,
      diskGib: 64n,
      kernel: "auto",
      accelerator: "auto",
      shares: ["/Users/me", "/private/tmp"],
    },
    driver: "qemu",
  });
  containers: ContainerSummary[] = [];
  /** How long a second of `Stats` is. */
  secondMs = 1000;
  /** By container id. */
  logs = new Map<string, string[]>();
  /** How many read one now. */
  logReaders = 0;
  presence: Presence = { kind: "live", version: "0.1.0" };
  /** What the next call of this method (`Start`) fails with. */
  refuse = new Map<string, ConnectError>();
  /** Until the first start. */
  noMachine = false;
  /** What was asked, in order: `Stop web`. */
  asked: string[] = [];
  browsed: string[] = [];
  preferences: Preferences = { notify: true };
  /** What the user answers to a dialog of the shell; undefined: he changes his mind. */
  picks: (Picked | undefined)[] = [];
  /** What went to or came from byte streams: `tar /home/me/file`. */
  carried: string[] = [];
  /** By path: what is in a folder of any container. */
  folders = new Map<string, PathStat[]>();
  /** Images, volumes, networks, and where they come from. */
  readonly goods: Goods = new Goods({
    asked: (what, whom) => this.#asked(what, whom),
    changed: () => this.#containerBell.ring(),
    containers: () => this.containers,
    uses: (container, network, on) => this.#joins(container, network, on),
  });

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
      accelerator: "hvf",
      acceleratorReason: "this host offers Hypervisor.framework",
      kernelRelease: "6.12.117-linkspan",
      hostMemoryBytes: 243_000_000n,
      diskAllocatedBytes: 31_000_000n,
      diskSizeBytes: 68_719_476_736n,
      startedUnixNanos: BigInt(Date.now() - 71_000) * 1_000_000n,
      usage: this.#usage(),
    });
  }

  /** Of now: busier and idler as time goes on. */
  #usage() {
    const uptime = Date.now() / 1000;
    const wave = 1 + Math.sin(uptime / 7);
    return {
      memoryTotalBytes: 2_061_000_000n,
      memoryAvailableBytes: BigInt(Math.round(1_880_000_000 - 18_000_000 * wave)),
      diskTotalBytes: 67_000_000_000n,
      diskFreeBytes: 66_100_000_000n,
      cpus: 2,
      uptimeUs: 71_000_000n,
      containersRunning: 4,
      cpuBusyUs: BigInt(Math.round((uptime * 0.6 - 2.1 * Math.cos(uptime / 7)) * 1e6)),
      cpuTotalUs: BigInt(Math.round(uptime * 2e6)),
    };
  }

  #joins(id: string, network: string, on: boolean): void {
    this.containers = this.containers.map((each) =>
      each.id === id
        ? {
            ...each,
            networks: on
              ? [...each.networks, network]
              : each.networks.filter((name) => name !== network),
          }
        : each,
    );
    this.#containerBell.ring();
  }

  /** Invents files that a container might have. */
  fills(): void {
    const entry = (name: string, mode: number, size = 0, linkTarget = "") =>
      create(PathStatSchema, {
        name,
        mode,
        sizeBytes: BigInt(size),
        modifiedUnixNanos: 1_790_000_000_000_000_000n,
        linkTarget,
      });
    const folder = (name: string) => entry(name, 0o040755);
    this.folders.set("/", [
      entry("bin", 0o120777, 0, "usr/bin"),
      ...["dev", "etc", "home", "proc", "srv", "sys", "tmp", "usr", "var"].map(folder),
    ]);
    this.folders.set("/etc", [
      folder("nginx"),
      entry("hostname", 0o100644, 13),
      entry("hosts", 0o100644, 174),
      entry("nginx.conf", 0o100644, 648),
      entry("passwd", 0o100644, 922),
    ]);
    this.folders.set("/etc/nginx", [entry("mime.types", 0o100644, 5349)]);
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

  /** Many at once: adding one by one would copy the list each time. */
  crowd(count: number): void {
    const states = [ContainerState.RUNNING, ContainerState.EXITED, ContainerState.PAUSED];
    this.containers = Array.from({ length: count }, (_, at) =>
      create(ContainerSummarySchema, {
        id: (at + 1).toString(16).padStart(64, "0"),
        name: `worker-${at}`,
        image: "busybox",
        state: states[at % states.length] ?? ContainerState.RUNNING,
        createdUnixNanos: BigInt(1_790_000_000 + at) * 1_000_000_000n,
        labels: at % 4 === 0 ? { "com.docker.compose.project": `farm-${at % 5}` } : {},
      }),
    );
    this.#containerBell.ring();
  }

  become(id: string, state: ContainerState): void {
    const starts = state === ContainerState.RUNNING;
    const startedUnixNanos = BigInt(Date.now()) * 1_000_000n;
    this.containers = this.containers.map((each) =>
      each.id === id ? { ...each, state, ...(starts && { startedUnixNanos }) } : each,
    );
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
      restart: () => {
        this.#asked("Restart", "daemon");
        this.presence = { kind: "live", version: "0.1.0" };
        return Promise.resolve(this.presence);
      },
      preferences: () => Promise.resolve(this.preferences),
      prefer: (preferences) => {
        this.preferences = preferences;
        return Promise.resolve();
      },
      browse: async (url) => {
        this.#refuses("Browse");
        this.browsed.push(url);
      },
      pick: async () => {
        this.#refuses("Pick");
        return this.picks.shift();
      },
      sendFile: ({ path }) => this.#carry(`file ${path}`),
      sendTar: ({ path }) => this.#carry(`tar ${path}`),
      receive: ({ path }) => this.#carry(`receive ${path}`),
      openContext: (_, dockerfile) =>
        Promise.resolve({
          dockerfile: "FROM busybox\nCOPY app /app\nRUN /app --check\n",
          name: dockerfile || "Dockerfile",
          ignore: "",
          ignoreName: "",
        }),
      listContext: (_, folders) => Promise.resolve(this.goods.listing(folders)),
      sendContext: (_, paths) => this.#carry(`context ${paths.join(" ")}`),
    };
  }

  #carry(what: string): Promise<void> {
    this.carried.push(what);
    return Promise.resolve();
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
        inspect: () => {
          this.machine = { ...this.machine, usage: create(UsageResponseSchema, this.#usage()) };
          return { machine: this.machine };
        },
        serialLog: (_, { signal }) => this.#serial(signal),
        update: ({ settings }) => {
          this.#asked("Update", "machine");
          const { cpus, memoryMib, diskGib, kernel, share, unshare } = settings ?? {};
          const now = this.machine.settings;
          this.machineBecomes({
            settings: {
              cpus: cpus ?? now?.cpus ?? 0,
              memoryMib: memoryMib ?? now?.memoryMib ?? 0n,
              diskGib: diskGib ?? now?.diskGib ?? 0n,
              kernel: kernel ?? now?.kernel ?? "",
              accelerator: settings?.accelerator ?? now?.accelerator ?? "",
              shares: (now?.shares ?? [])
                .filter((path) => !unshare?.includes(path))
                .concat(share ?? []),
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
        inspect: ({ container }) => ({ container: this.#detail(this.#find(container)) }),
        create: ({ name, config }) => {
          this.#asked("Create", config?.image ?? "");
          this.goods.mustHave(config?.image ?? "");
          const made = this.add({
            name: name || "brave_bridge",
            image: config?.image ?? "",
            command: config?.command ?? [],
            state: ContainerState.CREATED,
            ports: (config?.ports ?? []).map(({ hostPort, containerPort }) => ({
              hostIp: "127.0.0.1",
              hostPort: hostPort || 32768,
              containerPort,
            })),
          });
          return { id: made.id, name: made.name };
        },
        stats: (request, { signal }) => this.#stats(request.containers, signal),
        exec: (requests, { signal }) => this.#exec(requests, signal),
        attach: (requests) => this.#attach(requests),
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
        prune: () => {
          this.#asked("Prune", "containers");
          const ended = [ContainerState.EXITED, ContainerState.CREATED];
          const gone = this.containers.filter(({ state }) => ended.includes(state));
          this.containers = this.containers.filter((each) => !gone.includes(each));
          this.#containerBell.ring();
          return { ids: gone.map(({ id }) => id), reclaimedBytes: 4_200_000n };
        },
        logs: ({ container, sinceUnixNanos }, { signal }) =>
          this.#logs(container, sinceUnixNanos, signal),
      });
      service(HostService, {
        info: () => ({
          os: "macOS 15.1 Sequoia",
          kernel: "Darwin 24.6.0 arm64",
          architecture: "aarch64",
          cpus: 8,
          memoryBytes: 17_179_869_184n,
          homeDirectory: "/Users/me/.linkspan",
          defaultMachine: "default",
          drivers: ["vz", "qemu"],
        }),
        hello: () => ({ protocolVersion: 1, version: "0.1.0", pid: 411 }),
      });
      service(AgentService, {
        ping: async ({ payload }, { signal }) => {
          await pause(1, signal);
          return { payload };
        },
        usage: () => this.#usage(),
        shell: () => look("vm"),
      });
      service(FileService, {
        list: ({ path }) => {
          this.#asked("Files", path);
          const entries = this.folders.get(path.replace(/(.)\/$/, "$1"));
          if (!entries) throw failure(ErrorCode.NOT_FOUND, `no such folder: ${path}`);
          return { entries };
        },
        copyOut: ({ path }) => {
          this.#asked("CopyOut", path);
          return {};
        },
        copyIn: ({ path }) => {
          this.#asked("CopyIn", path);
          return {};
        },
        changes: () => ({ changes: [] }),
      });
      this.goods.serve(service);
    });
  }

  /** Every stream breaks, and nobody answers. */
  loseDaemon(): void {
    this.presence = { kind: "absent", message: "the connection to the daemon was lost", hint: "" };
    this.#machineBell.ring();
    this.#containerBell.ring();
  }

  #mustBeLive(): void {
    const { presence } = this;
    if (presence.kind !== "live") throw failure(ErrorCode.UNAVAILABLE, presence.message);
  }

  #asked(what: string, whom: string): void {
    this.asked.push(`${what} ${whom}`);
    this.#refuses(what);
  }

  #refuses(what: string): void {
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

  #detail(summary: ContainerSummary) {
    const runs = summary.state === ContainerState.RUNNING;
    return create(ContainerDetailSchema, {
      summary,
      env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin", "LANG=C.UTF-8"],
      workingDir: "/",
      hostname: summary.id.slice(0, 12),
      pid: runs ? 412 : 0,
      capabilities: ["CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_SETUID"],
      config: { image: summary.image, restartPolicy: { name: "unless-stopped" } },
      mounts: summary.mounts,
      ...(summary.health && {
        health: {
          status: summary.health,
          failingStreak: 0,
          log: [{ exitCode: 0, output: "HTTP/1.1 200 OK" }],
        },
      }),
      startTrace: TRACE.map(([name, startedUs, durationUs]) => ({
        name,
        startedUs: BigInt(startedUs),
        durationUs: BigInt(durationUs),
      })),
    });
  }

  async *#stats(ids: string[], signal: AbortSignal) {
    for (let moment = 0; !signal.aborted; moment++) {
      const containers = this.containers
        .filter(({ id, state }) => ids.includes(id) && state === ContainerState.RUNNING)
        .map(({ id, name }) => this.#sample(id, name, moment));
      yield { containers };
      await pause(this.secondMs, signal);
    }
  }

  #sample(id: string, name: string, moment: number): MessageInitShape<typeof ContainerStatsSchema> {
    const wave = 1 + Math.sin(moment / 6);
    return {
      id,
      name,
      unixNanos: BigInt(Date.now()) * 1_000_000n,
      cpuPercent: moment === 0 ? 0 : 8 + 22 * wave,
      usage: {
        cpus: 2,
        memoryBytes: BigInt(Math.round(21_000_000 + 2_500_000 * wave + moment * 9000)),
        memoryLimitBytes: 67_108_864n,
        pids: 5n,
        blockReadBytes: BigInt(moment * 4096),
        blockWrittenBytes: BigInt(moment * 12_288),
        interfaces: [
          {
            name: "eth0",
            receivedBytes: BigInt(Math.round(moment * 40_000 + 9000 * wave)),
            sentBytes: BigInt(moment * 132_000),
          },
        ],
      },
    };
  }

  /** A shell that repeats what it is told. */
  async *#exec(requests: AsyncIterable<ExecRequest>, signal: AbortSignal) {
    const text = new TextEncoder();
    const said = new TextDecoder();
    for await (const { kind } of requests) {
      if (signal.aborted) return;
      if (kind.case === "open") {
        yield { kind: { case: "started" as const, value: { pid: 431 } } };
        yield { kind: { case: "stdout" as const, value: text.encode("/ # ") } };
      } else if (kind.case === "input" && kind.value.kind.case === "stdin") {
        const line = said.decode(kind.value.kind.value).replaceAll("\r", "\r\n/ # ");
        yield { kind: { case: "stdout" as const, value: text.encode(line) } };
      }
    }
  }

  /** Starts it; what it writes is what the page "Why Linux?" asks a container. */
  async *#attach(requests: AsyncIterable<AttachRequest>) {
    for await (const { kind } of requests) {
      if (kind.case !== "open") continue;
      // As long as the steps of its start say.
      await pause(START_MS, new AbortController().signal);
      if (kind.value.start) this.become(kind.value.container, ContainerState.RUNNING);
      yield* look("container");
      return;
    }
  }

  async *#serial(signal: AbortSignal) {
    const text = new TextEncoder();
    const lines = [
      "[    0.000000] Linux version 6.12.117-linkspan",
      "[    0.412233] Run /init as init process",
      "linkspan-agent: mounts, modules, disk: ready",
      "linkspan-agent: serving on vsock port 1024",
    ];
    yield { data: text.encode(lines.join("\n") + "\n") };
    await this.#machineBell.heard(this.#machineBell.rung, signal);
  }

  async *#watch(signal: AbortSignal) {
    while (!signal.aborted) {
      this.#mustBeLive();
      if (this.noMachine) throw failure(ErrorCode.NOT_FOUND, "there is no machine `default`");
      const seen = this.#machineBell.rung;
      yield { machine: this.machine };
      await this.#machineBell.heard(seen, signal);
    }
  }

  async *#start(_signal: AbortSignal) {
    this.#asked("Start", "machine");
    this.noMachine = false;
    yield { notice: "the VM runs slowly, under tcg: this processor shows neither vmx nor svm" };
    this.runs();
    yield { machine: this.machine };
  }

  async *#events(signal: AbortSignal) {
    for (let seen = this.#containerBell.rung; !signal.aborted; seen = this.#containerBell.rung) {
      this.#mustBeLive();
      await this.#containerBell.heard(seen, signal);
      if (!signal.aborted) {
        yield { kind: { case: "event" as const, value: { type: "container", action: "start" } } };
      }
    }
  }

  /** As the agent does it: until the container ends. */
  async *#logs(id: string, since: bigint, signal: AbortSignal) {
    const text = new TextEncoder();
    const first = 1_790_000_000_000_000_000n;
    let sent = since > first ? Number(since - first) : 0;
    this.logReaders += 1;
    try {
      while (!signal.aborted) {
        const seen = this.#containerBell.rung;
        const lines = this.logs.get(id) ?? [];
        while (sent < lines.length) {
          const batch = lines.slice(sent, sent + 1000);
          const before = first + BigInt(sent);
          sent += batch.length;
          yield {
            records: batch.map((line, at) => ({
              unixNanos: before + BigInt(at),
              stream: LogStream.STDOUT,
              line: text.encode(`${line}\n`),
            })),
          };
        }
        if (this.#find(id).state !== ContainerState.RUNNING) return;
        await this.#containerBell.heard(seen, signal);
      }
    } finally {
      this.logReaders -= 1;
    }
  }
}

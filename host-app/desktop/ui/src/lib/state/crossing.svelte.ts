// One run, measured on its way from this window to a process in a container and back; and the same
// questions asked in the VM and in the container. As `linkspan tour` does it.
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { HostInfoResponse } from "../../gen/linkspan/host/v1/host_pb.js";
import type { Machine } from "../../gen/linkspan/host/v1/machine_pb.js";
import type { AttachRequestSchema, TraceStep } from "../../gen/linkspan/v1/container_pb.js";
import type { ShellRequestSchema } from "../../gen/linkspan/v1/agent_pb.js";
import type { StdioOutput } from "../../gen/linkspan/v1/stdio_pb.js";
import type { Api } from "../api.js";
import { failureOf } from "../failure.js";
import type { Failure } from "../failure.js";

/** What the container may use at most: small numbers, easily recognised from inside. */
const MEMORY = 64n << 20n;
const PIDS = 32n;
/** Round trips, of which the median counts. */
const TRIPS = 5;

/** What is asked, and how; each is answered in one line. */
const QUESTIONS: readonly [string, string][] = [
  ["Kernel", 'echo "$(uname -srm)"'],
  ["Host name", "hostname"],
  ["Process id of this look", 'echo "$$"'],
  ["Process 1 is", "cat /proc/1/comm"],
  ["Processes in sight", "ls /proc | grep -c '^[0-9]'"],
  ["Network interfaces", "ls /sys/class/net | tr '\\n' ' '; echo"],
  ["Effective capabilities", "grep CapEff /proc/self/status | cut -f2"],
  ["Seccomp", "grep '^Seccomp:' /proc/self/status | cut -f2"],
  ["Memory limit", "cat /sys/fs/cgroup/memory.max 2>/dev/null || echo none"],
  ["Process limit", "cat /sys/fs/cgroup/pids.max 2>/dev/null || echo none"],
];
export const ASKED = QUESTIONS.map(([what]) => what);
const SCRIPT = QUESTIONS.map(([, how]) => how).join("\n");
/** The container lives on for a while, so that what it uses can be measured. */
const STAY = "exec sleep 60";

export interface Crossing {
  /** Milliseconds since the Unix epoch. */
  at: number;
  host: HostInfoResponse;
  machine: Machine;
  /** Answers to `ASKED`. */
  vm: string[];
  container: string[];
  /** All that follows in microseconds: from this window to the daemon and back. */
  daemonUs: number;
  /** From this window to the agent in the VM and back. */
  agentUs: number;
  createUs: number;
  /** From asking for the start to the news that the process runs. */
  startUs: number;
  /** From there to the last line of its answers. */
  workUs: number;
  trace: TraceStep[];
  /** Bytes; undefined: it has not been told. */
  memory: bigint | undefined;
  disk: bigint | undefined;
}

function sinceUs(began: number): number {
  return (performance.now() - began) * 1000;
}

async function medianUs(trip: () => Promise<unknown>): Promise<number> {
  const times: number[] = [];
  for (let at = 0; at < TRIPS; at++) {
    const began = performance.now();
    await trip();
    times.push(sinceUs(began));
  }
  return times.toSorted((a, b) => a - b)[Math.floor(TRIPS / 2)] ?? 0;
}

export class CrossingStore {
  last = $state.raw<Crossing>();
  /** What it is at; empty: nothing is measured. */
  doing = $state("");
  failure = $state.raw<Failure>();

  #api: Api;

  constructor(api: Api) {
    this.#api = api;
  }

  async measure(): Promise<void> {
    this.failure = undefined;
    try {
      this.last = await this.#cross();
    } catch (error) {
      this.failure = failureOf(error);
    } finally {
      this.doing = "";
    }
  }

  async #cross(): Promise<Crossing> {
    const { host: hosts, agent, machines, containers } = this.#api;
    this.doing = "to the daemon and back";
    const host = await hosts.info({});
    const daemonUs = await medianUs(() => hosts.info({}));
    this.doing = "to the agent and back";
    const agentUs = await medianUs(() => agent.ping({}));
    this.doing = "a look around the VM";
    const vm = await this.#askVm();
    this.doing = "a container";
    const began = performance.now();
    const { id } = await containers.create({
      config: {
        image: "busybox",
        command: ["sh", "-c", `${SCRIPT}\n${STAY}`],
        resources: { memoryBytes: MEMORY, pidsLimit: PIDS },
      },
    });
    const createUs = sinceUs(began);
    try {
      const visit = await this.#visit(id);
      const { machine } = await machines.inspect({ name: "" });
      if (!machine) throw new Error("the daemon does not tell of the machine");
      return { at: Date.now(), host, machine, vm, daemonUs, agentUs, createUs, ...visit };
    } finally {
      // Also after a failure: nothing is left behind.
      await containers.remove({ container: id, force: true, volumes: true });
    }
  }

  async #askVm(): Promise<string[]> {
    const args = ["sh", "-c", SCRIPT];
    const abort = new AbortController();
    const { signal } = abort;
    const open: MessageInitShape<typeof ShellRequestSchema> = {
      kind: { case: "open", value: { args } },
    };
    try {
      const outputs = this.#api.agent.shell(held(open, signal), { signal });
      return (await collect(outputs, performance.now())).lines;
    } finally {
      abort.abort();
    }
  }

  async #visit(container: string) {
    const { containers } = this.#api;
    const abort = new AbortController();
    const { signal } = abort;
    const open: MessageInitShape<typeof AttachRequestSchema> = {
      kind: { case: "open", value: { container, stdout: true, stderr: true, start: true } },
    };
    const began = performance.now();
    try {
      const outputs = containers.attach(held(open, signal), { signal });
      const { lines, startUs } = await collect(outputs, began);
      const workUs = sinceUs(began) - startUs;
      const memory = await this.#memory(container);
      const detail = (await containers.inspect({ container, size: true })).container;
      return {
        container: lines,
        startUs,
        workUs,
        trace: detail?.startTrace ?? [],
        memory,
        disk: detail?.summary?.size?.rwBytes,
      };
    } finally {
      abort.abort();
    }
  }

  async #memory(container: string): Promise<bigint | undefined> {
    const abort = new AbortController();
    try {
      const request = { containers: [container] };
      for await (const moment of this.#api.containers.stats(request, { signal: abort.signal })) {
        return moment.containers[0]?.usage?.memoryBytes;
      }
      return undefined;
    } finally {
      abort.abort();
    }
  }
}

/** One request, and then nothing: who ends the requests means to leave. */
async function* held<T>(request: T, signal: AbortSignal): AsyncGenerator<T> {
  yield request;
  if (signal.aborted) return;
  await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
}

/** The answers, and when it was said to run. */
async function collect(
  outputs: AsyncIterable<StdioOutput>,
  began: number,
): Promise<{ lines: string[]; startUs: number }> {
  const text = new TextDecoder();
  let said = "";
  let startUs: number | undefined;
  const lines = () => said.split("\n").map((line) => line.trim());
  for await (const { kind } of outputs) {
    if (kind.case === "started") startUs = sinceUs(began);
    if (kind.case === "stdout") said += text.decode(kind.value, { stream: true });
    if (kind.case === "exited" && kind.value.error !== "") throw new Error(kind.value.error);
    // Behind the last line end there is nothing.
    if (lines().length > QUESTIONS.length || kind.case === "exited") {
      return { lines: lines().slice(0, QUESTIONS.length), startUs: startUs ?? sinceUs(began) };
    }
  }
  throw new Error("the connection to a process was lost before it had answered");
}

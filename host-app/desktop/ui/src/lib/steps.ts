// The way of one run as steps on one scale of time.
import type { Step } from "./parts/Steps.svelte";
import type { Crossing } from "./state/crossing.svelte.js";

/** What the agent's steps are about; a step without words shows its name alone. */
const ABOUT: Record<string, string> = {
  cgroup: "limits of memory, processors and processes (cgroup v2)",
  device_filter: "which devices it may open",
  spawn: "linkspan-init, one thread, in new namespaces",
  network: "a virtual cable to its bridge (veth), an address",
  order: "the agent sends the plan over a pipe",
  user_namespace: "its own user ids",
  unshare: "its own view of processes, mounts, host name (namespaces)",
  join_network: "another container's network",
  loopback: "127.0.0.1 inside",
  overlay: "the image's layers, read-only, and one to write to (overlayfs)",
  sources: "what is mounted from elsewhere",
  mounts: "/proc, /dev, /sys, volumes",
  devices: "/dev/null and its kin",
  pivot: "the old root goes out of sight (pivot_root)",
  terminal: "its terminal",
  hostname: "its name",
  protect: "parts of /proc and /sys are hidden or read-only",
  rlimits: "resource limits",
  user: "who it runs as",
  privileges: "capabilities are given up",
  seccomp: "which system calls it may make (seccomp)",
  execute: "the program itself (execve)",
};

export function route(seen: Crossing): Step[] {
  const { createUs, startUs, workUs, trace, daemonUs, agentUs } = seen;
  // What a crossing takes is measured beside the run, so it may be more than all of this one.
  const toDaemon = Math.min(daemonUs, createUs);
  const vsock = Math.min(Math.max(0, agentUs - daemonUs), createUs - toDaemon);
  const inside = Math.max(
    0,
    ...trace.map(({ startedUs, durationUs }) => Number(startedUs + durationUs)),
  );
  // The VM has a clock of its own: its last step ended half a round trip before it was heard of.
  const began = createUs + Math.max(0, startUs - inside - agentUs / 2);
  return [
    { name: "create", startedUs: 0, durationUs: createUs, note: "until it has an id" },
    {
      name: "to the daemon",
      startedUs: 0,
      durationUs: toDaemon,
      note: "and back, through a socket of this host (the median of several)",
      inner: true,
    },
    {
      name: "vsock",
      startedUs: toDaemon,
      durationUs: vsock,
      note: "from the daemon to the agent in the VM, and back (the median of several)",
      inner: true,
    },
    {
      name: "record",
      startedUs: toDaemon + vsock,
      durationUs: createUs - toDaemon - vsock,
      note: "the agent finds the image and makes the container's folder",
      inner: true,
    },
    { name: "start", startedUs: createUs, durationUs: startUs, note: "until it is said to run" },
    ...trace.map(({ name, startedUs, durationUs }) => ({
      name: name.replaceAll("_", " "),
      startedUs: began + Number(startedUs),
      durationUs: Number(durationUs),
      note: ABOUT[name] ?? "",
      inner: true,
    })),
    {
      name: "its work",
      startedUs: createUs + startUs,
      durationUs: workUs,
      note: "ten questions, and the answers' way back",
    },
  ];
}

/** How much of it was the way, in words. */
export function about({ daemonUs, agentUs, startUs, trace }: Crossing): string {
  const inside = trace.reduce((sum, { durationUs }) => sum + Number(durationUs), 0);
  const ms = (us: number) => `${(us / 1000).toFixed(1)} ms`;
  return `Of the start's ${ms(startUs)}, ${ms(inside)} were the kernel's work on namespaces, mounts and limits; one crossing from this window into the VM and back takes ${ms(agentUs)}, of which ${ms(daemonUs)} to the daemon.`;
}

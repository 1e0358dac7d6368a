// What programs say in the invented world.

/** Sleeps, or less. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener(
      "abort",
      () => {
        clearTimeout(timer);
        resolve();
      },
      { once: true },
    );
  });
}

const KERNEL = "Linux 6.12.117-linkspan aarch64";
const SEEN = {
  vm: [
    KERNEL,
    "linkspan",
    "188",
    "linkspan-agent",
    "74",
    "eth0 lo lsbr0",
    "000001ffffffffff",
    "0",
    "none",
    "none",
  ],
  container: [
    KERNEL,
    "6a1f0c2b9d3e",
    "1",
    "sh",
    "2",
    "eth0 lo",
    "00000000a80425fb",
    "2",
    "67108864",
    "32",
  ],
};

/** The answers to the questions of "Why Linux?". */
export async function* look(where: keyof typeof SEEN) {
  yield { kind: { case: "started" as const, value: { pid: 188 } } };
  await pause(9, new AbortController().signal);
  const value = new TextEncoder().encode(`${SEEN[where].join("\n")}\n`);
  yield { kind: { case: "stdout" as const, value } };
  yield { kind: { case: "exited" as const, value: { exitCode: 0 } } };
}

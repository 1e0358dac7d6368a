// What the run dialog asks for, as the daemon wants it and as the command line has it.
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { CreateContainerRequestSchema } from "../gen/linkspan/v1/container_pb.js";
import { MountType } from "../gen/linkspan/v1/mount_pb.js";
import { PortProtocol } from "../gen/linkspan/v1/port_pb.js";
import { fault as pairsFault, lines } from "./pairs.js";

export interface PortWish {
  host: string;
  container: string;
  udp: boolean;
}
export interface MountWish {
  /** A volume's name or an absolute path of this host. */
  source: string;
  target: string;
  readOnly: boolean;
}
export interface RunOptions {
  image: string;
  name: string;
  /** As typed into a shell. Empty: the image's. */
  command: string;
  ports: PortWish[];
  mounts: MountWish[];
  /** KEY=VALUE, one a line. */
  env: string;
  /** Empty: the default bridge. */
  network: string;
  /** no, on-failure, always, unless-stopped */
  restart: string;
  /** MiB. */
  memory: number | undefined;
  cpus: number | undefined;
  remove: boolean;
  readOnly: boolean;
}

export function emptyRun(image = ""): RunOptions {
  return {
    image,
    name: "",
    command: "",
    ports: [],
    mounts: [],
    env: "",
    network: "",
    restart: "no",
    memory: undefined,
    cpus: undefined,
    remove: false,
    readOnly: false,
  };
}

/** The words of a line as a POSIX shell sees them, without expansions (XCU 2.2, 2.3). */
export function words(line: string): string[] {
  const found: string[] = [];
  let word: string | undefined;
  let quote = "";
  for (let at = 0; at < line.length; at++) {
    const char = line[at] ?? "";
    if (quote === "'") {
      if (char === "'") quote = "";
      else word += char;
    } else if (char === "\\") {
      const next = line[++at] ?? "";
      const literal = quote === '"' && !'$`"\\\n'.includes(next);
      word = (word ?? "") + (literal ? "\\" : "") + next;
    } else if (quote === '"') {
      if (char === '"') quote = "";
      else word += char;
    } else if (char === "'" || char === '"') {
      quote = char;
      word ??= "";
    } else if (/\s/.test(char)) {
      if (word !== undefined) found.push(word);
      word = undefined;
    } else word = (word ?? "") + char;
  }
  if (quote) throw new Error(`the command has a ${quote} that is not closed`);
  if (word !== undefined) found.push(word);
  return found;
}

/** So that this host's usual shell takes it as one word, as it is: PowerShell on Windows, else a
 * POSIX shell. */
export function quote(word: string, os = "linux"): string {
  if (/^[A-Za-z0-9_%+=:./-]+$/.test(word)) return word;
  return os === "windows"
    ? `'${word.replaceAll("'", "''")}'`
    : `'${word.replaceAll("'", "'\\''")}'`;
}

function portText({ host, container, udp }: PortWish): string {
  return `${host === "" ? "" : `${host}:`}${container}${udp ? "/udp" : ""}`;
}

/** As one would have typed it. */
export function commandLine(run: RunOptions, os = "linux"): string {
  const parts = ["linkspan", "run", "-d"];
  const flag = (name: string, value: string) => parts.push(name, quote(value, os));
  if (run.remove) parts.push("--rm");
  if (run.name) flag("--name", run.name);
  // What is not filled in yet is left out.
  for (const port of run.ports) if (port.container) flag("-p", portText(port));
  for (const { source, target, readOnly } of run.mounts) {
    if (!target) continue;
    flag("-v", `${source === "" ? "" : `${source}:`}${target}${readOnly ? ":ro" : ""}`);
  }
  for (const entry of lines(run.env)) flag("-e", entry);
  if (run.network) flag("--network", run.network);
  if (run.restart !== "no") flag("--restart", run.restart);
  if (run.memory) flag("-m", `${run.memory}m`);
  if (run.cpus) flag("--cpus", String(run.cpus));
  if (run.readOnly) parts.push("--read-only");
  parts.push(quote(run.image || "IMAGE", os));
  parts.push(...words(run.command).map((word) => quote(word, os)));
  return parts.join(" ");
}

/** What is wrong with it, before anybody is asked; undefined: nothing that is known here. */
export function fault(run: RunOptions): string | undefined {
  if (run.image.trim() === "") return "an image is needed";
  for (const { host, container } of run.ports) {
    if (container === "") return "a port needs the container's number";
    for (const port of host === "" ? [container] : [host, container]) {
      if (!/^\d+$/.test(port) || Number(port) < 1 || Number(port) > 65535)
        return `\`${port}\` is not a port: 1 to 65535`;
    }
  }
  for (const { target } of run.mounts) {
    if (target === "") return "a folder or volume needs its place in the container";
    if (!target.startsWith("/")) return `\`${target}\` is not an absolute path in the container`;
  }
  const environment = pairsFault(run.env);
  if (environment) return environment;
  if (run.remove && run.restart !== "no") return "it cannot be removed at its end and be restarted";
  try {
    words(run.command);
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  return undefined;
}

/** An absolute path of this host, as POSIX or Windows has it. */
function isPath(source: string): boolean {
  return /^(\/|[A-Za-z]:[\\/]|\\\\)/.test(source);
}

export function request(run: RunOptions): MessageInitShape<typeof CreateContainerRequestSchema> {
  return {
    name: run.name,
    config: {
      image: run.image.trim(),
      command: words(run.command),
      env: lines(run.env),
      autoRemove: run.remove,
      readOnlyRootfs: run.readOnly,
      resources: {
        memoryBytes: BigInt(Math.round((run.memory ?? 0) * 1024 * 1024)),
        nanoCpus: BigInt(Math.round((run.cpus ?? 0) * 1e9)),
      },
      restartPolicy: { name: run.restart },
      network: run.network ? { endpoints: [{ network: run.network }] } : {},
      ports: run.ports.map(({ host, container, udp }) => ({
        hostPort: Number(host),
        containerPort: Number(container),
        protocol: udp ? PortProtocol.UDP : PortProtocol.TCP,
      })),
      mounts: run.mounts.map(({ source, target, readOnly }) => ({
        type: isPath(source) ? MountType.BIND : MountType.VOLUME,
        source,
        target,
        readOnly,
        mode: readOnly ? "ro" : "",
        // As `-v` does it.
        createSource: isPath(source),
      })),
    },
  };
}

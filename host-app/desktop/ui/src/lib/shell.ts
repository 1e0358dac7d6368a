// What only the program around the pages can do: the daemon's life, files of this host, links.
import { invoke } from "@tauri-apps/api/core";
import { refused } from "./ipc/tauri.js";

/** What the daemon is, seen from outside of it. */
export type Presence =
  | { kind: "live"; version: string }
  /** None runs. */
  | { kind: "absent"; message: string; hint: string }
  /** It is there and speaks another version. */
  | { kind: "other"; message: string; hint: string };

/** What the user is asked for. `save`: a place that need not be there yet. */
export type Wanted = "folder" | "file" | "archive" | "save" | "share";

/** A file or folder of this host that the user has chosen. The pages reach nothing else of it. */
export interface Picked {
  /** The shell's word for it. */
  token: string;
  /** To be shown. */
  path: string;
}

/** What a build needs beside its files. */
export interface Recipe {
  dockerfile: string;
  name: string;
  ignore: string;
  ignoreName: string;
}

/** What the user wants of this program. */
export interface Preferences {
  /** Tell when a machine fails or a container becomes unhealthy, also with the window closed. */
  notify: boolean;
}

export interface Shell {
  /** Looks for the daemon; `start`: starts one when there is none. */
  connect(start: boolean): Promise<Presence>;
  /** Ends a daemon of any version and starts this program's own. Machines go on. */
  restart(): Promise<Presence>;
  preferences(): Promise<Preferences>;
  prefer(preferences: Preferences): Promise<void>;
  /** Opens an http or https address in the user's browser. */
  browse(url: string): Promise<void>;
  /** Asks the user; undefined: he changed his mind. `name` is suggested. */
  pick(wanted: Wanted, name?: string): Promise<Picked | undefined>;
  /** A file as it is, to the agent's byte stream. */
  sendFile(picked: Picked, stream: string): Promise<void>;
  /** A file or folder as a tar. */
  sendTar(picked: Picked, stream: string): Promise<void>;
  /** A tar from the agent's byte stream: one file becomes the file, a folder is unpacked. */
  receive(picked: Picked, stream: string): Promise<void>;
  /** Reads the Dockerfile (empty: `Dockerfile`) of a folder. */
  openContext(picked: Picked, dockerfile: string): Promise<Recipe>;
  /** An encoded `linkspan.v1.ContextListing` of these folders. */
  listContext(picked: Picked, folders: readonly string[]): Promise<Uint8Array>;
  /** The contents of files that were listed, as `FilesWanted` has it. */
  sendContext(picked: Picked, paths: readonly string[], stream: string): Promise<void>;
  /** The version of this program. */
  readonly version: string;
}

async function call<T>(command: string, parameters: Record<string, unknown>): Promise<T> {
  try {
    return await invoke<T>(command, parameters);
  } catch (error) {
    throw refused(error);
  }
}

export const tauriShell: Shell = {
  connect: (start) => call("daemon_connect", { start }),
  restart: () => call("daemon_restart", {}),
  preferences: () => call("prefs_get", {}),
  prefer: (prefs) => call("prefs_set", { prefs }),
  browse: (url) => call("browse", { url }),
  pick: async (wanted, name = "") =>
    (await call<Picked | null>("pick", { what: wanted, name })) ?? undefined,
  sendFile: ({ token }, stream) => call("archive_send", { token, stream }),
  sendTar: ({ token }, stream) => call("tar_send", { token, stream }),
  receive: ({ token }, stream) => call("tar_receive", { token, stream }),
  openContext: ({ token }, dockerfile) => call("context_open", { token, dockerfile }),
  listContext: async ({ token }, folders) =>
    new Uint8Array(await call<ArrayBuffer>("context_list", { token, folders })),
  sendContext: ({ token }, paths, stream) => call("context_send", { token, paths, stream }),
  version: __VERSION__,
};

/** A fresh name for one byte stream: a UUID, version 4 (RFC 9562). */
export function newStream(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6]! & 0x0f) | 0x40;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

// What only the program around the pages can do: the daemon's life, files of this host, links.
import { invoke } from "@tauri-apps/api/core";

/** What the daemon is, seen from outside of it. */
export type Presence =
  | { kind: "live"; version: string }
  /** None runs. */
  | { kind: "absent"; message: string; hint: string }
  /** It is there and speaks another version. */
  | { kind: "other"; message: string; hint: string };

export interface Shell {
  /** Looks for the daemon; `start`: starts one when there is none. */
  connect(start: boolean): Promise<Presence>;
  /** Opens an http or https address in the user's browser. */
  browse(url: string): Promise<void>;
  /** The version of this program. */
  readonly version: string;
}

export const tauriShell: Shell = {
  connect: (start) => invoke<Presence>("daemon_connect", { start }),
  browse: (url) => invoke("browse", { url }),
  version: __VERSION__,
};

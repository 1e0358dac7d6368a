// Which system this host has, from the name that the daemon gives it for people, such as
// `Linux (Debian GNU/Linux 12)`, `macOS 15.1 Sequoia` or `Windows 11 Pro`.

export type System = "linux" | "macos" | "windows";

/** Linux where the name says nothing. */
export function systemOf(name: string): System {
  if (/^windows/i.test(name)) return "windows";
  return /^mac ?os/i.test(name) ? "macos" : "linux";
}

export const SYSTEMS: Record<System, string> = {
  linux: "Linux",
  macos: "macOS",
  windows: "Windows",
};

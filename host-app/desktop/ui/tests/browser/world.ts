// Opens the pages on an invented world, and looks into it.
import type { Page } from "@playwright/test";
import type { World } from "../../src/stub/world.js";

export const WEB = "1".padStart(64, "0");
export const NGINX = `sha256:${"17c9e".repeat(20).slice(0, 64)}`;

export async function open(page: Page, hash: string, world = "busy"): Promise<void> {
  await page.goto(`/stub.html?world=${world}#${hash}`);
}

/** What was asked of the daemon so far. */
export function asked(page: Page): Promise<string[]> {
  return page.evaluate(() => (globalThis as unknown as { world: World }).world.asked);
}

/** What the user will answer to the shell's dialogs. */
export function willPick(page: Page, ...paths: string[]): Promise<void> {
  return page.evaluate((paths) => {
    const { world } = globalThis as unknown as { world: World };
    world.picks = paths.map((path) => ({ token: path, path }));
  }, paths);
}

/** What went to and came from byte streams. */
export function carried(page: Page): Promise<string[]> {
  return page.evaluate(() => (globalThis as unknown as { world: World }).world.carried);
}

/** Every page, and what is to be in sight before it is looked at. */
export const PAGES: { name: string; hash: string; world?: string; ready: string }[] = [
  { name: "machine", hash: "/machine", ready: "The machine is running" },
  {
    name: "machine-starting",
    hash: "/machine",
    world: "starting",
    ready: "The machine is starting",
  },
  { name: "machine-failed", hash: "/machine", world: "failed", ready: "The machine did not start" },
  { name: "machine-halted", hash: "/machine", world: "halted", ready: "It goes on by itself" },
  { name: "machine-stranded", hash: "/machine", world: "stranded", ready: "does not answer" },
  { name: "machine-stopped", hash: "/machine", world: "stopped", ready: "The machine is stopped" },
  { name: "absent", hash: "/machine", world: "absent", ready: "The daemon is not running" },
  {
    name: "other-version",
    hash: "/machine",
    world: "other",
    ready: "The daemon is another version",
  },
  { name: "containers", hash: "/containers", ready: "nightly-import" },
  { name: "containers-empty", hash: "/containers", world: "empty", ready: "No container yet" },
  { name: "container-logs", hash: `/containers/${WEB}/logs`, ready: "240 lines" },
  { name: "container-terminal", hash: `/containers/${WEB}/terminal`, ready: "web" },
  { name: "container-stats", hash: `/containers/${WEB}/stats`, ready: "processes." },
  { name: "container-files", hash: `/containers/${WEB}/files`, ready: "usr/bin" },
  { name: "container-details", hash: `/containers/${WEB}/details`, ready: "Working folder" },
  { name: "container-inspect", hash: `/containers/${WEB}/inspect`, ready: "workingDir" },
  { name: "images", hash: "/images", ready: "linkspan/hello:latest" },
  { name: "image", hash: `/images/${encodeURIComponent(NGINX)}`, ready: "How it was made" },
  { name: "volumes", hash: "/volumes", ready: "shop_database" },
  { name: "volume", hash: "/volumes/shop_database", ready: "In the machine" },
  { name: "networks", hash: "/networks", ready: "shop_default" },
  { name: "network", hash: `/networks/${"0b4d".repeat(30).slice(0, 64)}`, ready: "Who is in it" },
  { name: "why", hash: "/why", ready: "A container is not a small machine" },
];

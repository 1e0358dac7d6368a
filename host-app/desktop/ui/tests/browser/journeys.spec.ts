// What one does with the pages, from the first click to what came of it.
import { expect, test } from "@playwright/test";
import { asked, carried, NGINX, open, WEB, willPick } from "./world.js";

test("a container is run from the dialog, and its page opens", async ({ page }) => {
  await open(page, "/containers");
  await page.getByRole("button", { name: "Run…" }).click();
  const dialog = page.getByRole("dialog", { name: "Run a container" });
  await dialog.getByLabel("Image").fill("nginx:1.29");
  await dialog.getByLabel("Name", { exact: true }).fill("site");
  await dialog.getByRole("button", { name: "Add a port" }).click();
  await dialog.getByLabel("This host's").fill("8081");
  await dialog.getByLabel("The container's").fill("80");
  await expect(dialog.getByLabel("The same as a command line")).toHaveText(
    "linkspan run -d --name site -p 8081:80 nginx:1.29",
  );
  await dialog.getByRole("button", { name: "Run", exact: true }).click();
  await expect(page.getByRole("heading", { name: "site" })).toBeVisible();
  await expect(page.getByText("running", { exact: true })).toBeVisible();
  await expect(page.getByRole("link", { name: "8081→80" })).toBeVisible();
  expect(await asked(page)).toEqual(["Create nginx:1.29", "Start site"]);
});

test("an image that is not here is pulled on the way to a container", async ({ page }) => {
  await open(page, "/containers");
  await page.getByRole("button", { name: "Run…" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Image").fill("alpine");
  await dialog.getByRole("button", { name: "Run", exact: true }).click();
  await expect(page.getByRole("heading", { name: "brave_bridge" })).toBeVisible();
  expect(await asked(page)).toEqual([
    "Create alpine",
    "Pull alpine",
    "Create alpine",
    "Start brave_bridge",
  ]);
});

test("a run that waits for its image can go on in the background, and its container is one click away", async ({
  page,
}) => {
  await open(page, "/containers", "slow");
  await page.getByRole("button", { name: "Run…" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Image").fill("alpine");
  await dialog.getByRole("button", { name: "Run", exact: true }).click();
  await dialog.getByRole("button", { name: "Go on in the background" }).click();
  await page.getByRole("link", { name: "Volumes" }).click();
  await page.getByRole("link", { name: "Open what came of Run alpine" }).click();
  await expect(page.getByRole("heading", { name: "brave_bridge" })).toBeVisible();
});

test("a run that waits for its image can be called off, and leaves nothing", async ({ page }) => {
  await open(page, "/containers", "slow");
  await page.getByRole("button", { name: "Run…" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Image").fill("alpine");
  await dialog.getByRole("button", { name: "Run", exact: true }).click();
  await dialog.getByRole("button", { name: "Cancel the pull" }).click();
  await expect(dialog.getByRole("button", { name: "Run", exact: true })).toBeVisible();
  expect(await asked(page)).toEqual(["Create alpine", "Pull alpine"]);
});

test("networks and volumes are searched like all else", async ({ page }) => {
  for (const [hash, there, gone, none] of [
    ["/volumes", "shop_database", "9f2b9f2b9f2b…", "None of 2 volumes fits."],
    ["/networks", "vault", "shop_default", "None of 5 networks fits."],
  ] as const) {
    await open(page, hash);
    await expect(page.getByRole("link", { name: gone })).toBeVisible();
    await page.getByRole("searchbox").fill(there.toUpperCase());
    await expect(page.getByRole("link", { name: gone })).toHaveCount(0);
    await expect(page.getByRole("link", { name: there })).toBeVisible();
    await page.getByRole("searchbox").fill("no such name");
    await expect(page.getByText(none)).toBeVisible();
  }
});

test("the command line can be taken along", async ({ page, context }) => {
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  await open(page, "/containers");
  await page.getByRole("button", { name: "Run…" }).click();
  await page.getByRole("dialog").getByLabel("Image").fill("busybox");
  await page.getByLabel("Command, as typed into a shell").fill("echo 'a b'");
  await page.getByRole("button", { name: "Copy" }).click();
  await expect(page.getByRole("button", { name: "Copied" })).toBeVisible();
  const text = await page.evaluate(() => navigator.clipboard.readText());
  expect(text).toBe("linkspan run -d busybox echo 'a b'");
});

test("a pull shows its layers wherever one goes, and can be cancelled", async ({ page }) => {
  await open(page, "/images", "slow");
  await page.getByRole("button", { name: "Pull…" }).click();
  await page.getByRole("textbox", { name: "Image", exact: true }).fill("postgres:18");
  await page.getByRole("button", { name: "Pull", exact: true }).click();
  await page.getByRole("button", { name: "Pull postgres:18", exact: true }).click();
  await expect(page.getByRole("row", { name: /3f8a1c90b7d2 Downloading/ })).toBeVisible();
  await page.getByRole("link", { name: "Volumes" }).click();
  await page.getByRole("button", { name: "Cancel Pull postgres:18" }).click();
  await expect(page.getByText("cancelled")).toBeVisible();
  await page.getByRole("link", { name: "Images" }).click();
  await expect(page.getByText("busybox:latest")).toBeVisible();
  await expect(page.getByRole("link", { name: "postgres:18" })).toHaveCount(0);
});

test("a folder is built, with its output as it comes", async ({ page }) => {
  await open(page, "/images", "slow");
  await willPick(page, "/Users/me/My App");
  await page.getByRole("button", { name: "Build…" }).click();
  await page.getByRole("button", { name: "Choose a folder…" }).click();
  await expect(page.getByRole("textbox", { name: "Name" })).toHaveValue("my-app");
  await page.getByRole("button", { name: "Build", exact: true }).click();
  await page.getByRole("button", { name: "Build my-app", exact: true }).click();
  await expect(page.getByText("#3 step 1")).toBeVisible();
  await expect(page.getByRole("row", { name: /RUN \/app --check Running/ })).toBeVisible();
  expect(await carried(page)).toEqual(["context app"]);
  await page.getByRole("button", { name: "Cancel Build my-app" }).click();
  await expect(page.getByText("cancelled")).toBeVisible();
});

test("an archive is loaded, and is an image then", async ({ page }) => {
  await open(page, "/images");
  await willPick(page, "/Users/me/image.tar");
  await page.getByRole("button", { name: "Load…" }).click();
  await expect(page.getByRole("link", { name: "loaded:1" })).toBeVisible();
});

test("an image gets one more name, is pushed by it, and is removed when that is confirmed", async ({
  page,
}) => {
  await open(page, `/images/${encodeURIComponent(NGINX)}`);
  await page.getByRole("button", { name: "Tag…" }).click();
  await page.getByRole("textbox", { name: "Name" }).fill("registry.example/web:1");
  await page.getByRole("button", { name: "Tag", exact: true }).click();
  await page.getByRole("button", { name: "Push registry.example/web:1" }).click();
  await expect(page.getByText("done", { exact: true })).toBeVisible();
  await page.getByRole("button", { name: "Remove…" }).click();
  await page.getByRole("button", { name: "Keep" }).click();
  expect(await asked(page)).toEqual(["Tag registry.example/web:1", "Push registry.example/web:1"]);
  await page.getByRole("button", { name: "Remove…" }).click();
  await page.getByRole("button", { name: "Remove nginx:1.29" }).click();
  await expect(page.getByRole("heading", { name: "Images" })).toBeVisible();
  await expect(page.getByRole("link", { name: "nginx:1.29" })).toHaveCount(0);
});

test("the history of an image tells which step made which layer", async ({ page }) => {
  await open(page, `/images/${encodeURIComponent(NGINX)}`);
  await expect(page.getByRole("row", { name: /ADD file:a3f1 in \/ 74.8 MB/ })).toBeVisible();
  await expect(page.getByRole("row", { name: /apt-get install nginx 39.2 MB/ })).toBeVisible();
});

test("images that nobody uses go together", async ({ page }) => {
  await open(page, "/images");
  await page.getByRole("button", { name: "Remove nameless…" }).click();
  await page.getByRole("button", { name: "Remove 1 without a name" }).click();
  await expect(page.getByText("1 removed, 95.7 MB freed.")).toBeVisible();
});

test("containers that have ended go together", async ({ page }) => {
  await open(page, "/containers");
  await expect(page.getByText("5 containers, 3 running.")).toBeVisible();
  await page.getByRole("button", { name: "Remove ended…" }).click();
  await page.getByRole("button", { name: /^Remove all that have ended/ }).click();
  await expect(page.getByText("1 removed, 4.20 MB freed.")).toBeVisible();
  await expect(page.getByRole("link", { name: "nightly-import" })).toHaveCount(0);
});

test("volumes are made, show who has them, and are removed", async ({ page }) => {
  await open(page, "/volumes");
  const row = page.getByRole("row", { name: /shop_database/ });
  await expect(row.getByRole("link", { name: "shop-db-1" })).toBeVisible();
  await page.getByRole("button", { name: "Create…" }).click();
  await page.getByRole("textbox", { name: "Name" }).fill("cache");
  await page.getByRole("button", { name: "Create", exact: true }).click();
  await page.getByRole("link", { name: "cache", exact: true }).click();
  await expect(page.getByText("/data/volumes/cache/_data")).toBeVisible();
  await page.getByRole("button", { name: "Remove…" }).click();
  await page.getByRole("button", { name: "Remove it and all that is in it" }).click();
  await expect(page.getByRole("heading", { name: "Volumes" })).toBeVisible();
  expect(await asked(page)).toEqual(["CreateVolume cache", "RemoveVolume cache"]);
});

test("volumes are measured when that is wanted", async ({ page }) => {
  await open(page, "/volumes");
  await page.getByRole("button", { name: "Measure sizes" }).click();
  await expect(page.getByRole("row", { name: /shop_database.*48.0 MB/ })).toBeVisible();
});

test("networks are made, joined and left", async ({ page }) => {
  await open(page, "/networks");
  await page.getByRole("button", { name: "Create…" }).click();
  await page.getByRole("textbox", { name: "Name" }).fill("backend");
  await page.getByRole("button", { name: "Create", exact: true }).click();
  await page.getByRole("link", { name: "backend" }).click();
  await page.getByLabel("A container to connect").selectOption("web");
  await page.getByRole("button", { name: "Connect", exact: true }).click();
  await expect(page.getByRole("row", { name: /web 172\.17\.0\.2/ })).toBeVisible();
  await page.getByRole("button", { name: "Disconnect… web" }).click();
  await page.getByRole("button", { name: "Disconnect web" }).click();
  await expect(page.getByText("Nobody.")).toBeVisible();
});

test("a network that is always there cannot be removed", async ({ page }) => {
  await open(page, "/networks");
  await expect(page.getByRole("button", { name: "Remove… vault" })).toBeVisible();
  await expect(page.getByRole("button", { name: "Remove… bridge" })).toHaveCount(0);
});

test("files are browsed, taken out and put in", async ({ page }) => {
  await open(page, `/containers/${WEB}/files`);
  await page.getByRole("button", { name: "etc/" }).click();
  await expect(page.getByRole("row", { name: /nginx\.conf 648 B rw-r--r--/ })).toBeVisible();
  await willPick(page, "/Users/me/nginx.conf", "/Users/me/new.conf");
  await page.getByRole("button", { name: "Download nginx.conf" }).click();
  await expect(page.getByText("done", { exact: true })).toBeVisible();
  await page.getByRole("button", { name: "Upload a file…" }).click();
  await expect(page.getByText("done", { exact: true })).toHaveCount(2);
  expect(await carried(page)).toEqual(["receive /Users/me/nginx.conf", "tar /Users/me/new.conf"]);
  await page.getByRole("navigation", { name: "Folder" }).getByRole("button", { name: "/" }).click();
  await expect(page.getByText("usr/bin")).toBeVisible();
});

test("what is typed into the terminal reaches the shell, and its answer is shown", async ({
  page,
}) => {
  await open(page, `/containers/${WEB}/terminal`);
  await expect(page.locator(".xterm-rows")).toContainText("/ #");
  await page.keyboard.type("uname");
  await expect(page.locator(".xterm-rows")).toContainText("/ # uname");
});

test("figures come as they are measured", async ({ page }) => {
  await open(page, `/containers/${WEB}/stats`);
  await expect(page.getByRole("figure").filter({ hasText: "Memory" })).toContainText(/\d+\.\d MB/);
  await expect(page.getByRole("figure").filter({ hasText: "Network" })).toContainText(/kB\/s/);
});

test("a crossing is measured and drawn, and nothing is left of it", async ({ page }) => {
  await open(page, "/why");
  await page.getByRole("button", { name: "Measure one run" }).click();
  await expect(page.getByRole("heading", { name: "The way of one run" })).toBeVisible();
  await expect(page.getByRole("row", { name: /^seccomp .*which system calls/ })).toBeVisible();
  await expect(page.getByRole("row", { name: /^Kernel its own/ })).toBeVisible();
  await expect(page.getByText(/Measured on this host, \d+ \w+ \d{4}/).first()).toBeVisible();
  await expect(page.getByRole("link", { name: "Containers 5" })).toBeVisible();
});

test("what went wrong with a start is said, with what to do and the last lines", async ({
  page,
}) => {
  await open(page, "/machine", "failed");
  const alert = page.getByRole("alert");
  await expect(alert).toContainText("the data disk cannot be mounted");
  await expect(alert).toContainText("linkspan machine doctor");
  await alert.getByText("Last lines").click();
  await expect(alert).toContainText("bad geometry");
});

test("a phase that runs shows how long it has, and the serial log is at hand", async ({ page }) => {
  await open(page, "/machine", "starting");
  await expect(page.getByRole("row", { name: /disk now \d+ ms 12\.00 s/ })).toBeVisible();
  await page.getByRole("button", { name: "Serial log" }).click();
  await expect(page.getByText("serving on vsock port 1024")).toBeVisible();
});

test("a setting that cannot be is told while it is typed", async ({ page }) => {
  await open(page, "/machine", "stopped");
  await page.getByLabel("Disk (GiB)").fill("1");
  await expect(page.getByText("a disk can only grow")).toBeVisible();
  await expect(page.getByRole("button", { name: "Save" })).toBeDisabled();
  await page.getByRole("button", { name: "Undo" }).click();
  await expect(page.getByLabel("Disk (GiB)")).toHaveValue("64");
});

test("a folder is shared with the machine, and another one no more", async ({ page }) => {
  await open(page, "/machine", "stopped");
  await willPick(page, "/srv/www");
  await page.getByRole("button", { name: "Add a folder…" }).click();
  await page.getByRole("button", { name: "Do not share /private/tmp" }).click();
  await page.getByRole("button", { name: "Save" }).click();
  await expect(page.getByRole("button", { name: "Save" })).toBeDisabled();
  await expect(page.getByText("/srv/www")).toBeVisible();
  await expect(page.getByText("/private/tmp")).toHaveCount(0);
});

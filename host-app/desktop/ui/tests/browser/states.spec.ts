// Much, nothing, and what was known last.
import { expect, test } from "@playwright/test";
import type { World } from "../../src/stub/world.js";
import { open, WEB } from "./world.js";

test("a thousand containers are listed, searched and chosen", async ({ page }) => {
  await open(page, "/containers", "crowd");
  await expect(page.getByRole("link", { name: "worker-999" })).toBeVisible();
  await expect(page.getByRole("link", { name: "Containers 1000" })).toBeVisible();
  await page.getByRole("searchbox").fill("farm-3 worker-98");
  await expect(page.getByRole("link", { name: "worker-988" })).toBeVisible();
  await page.getByLabel("Choose all").check();
  await expect(page.getByText("1 chosen")).toBeVisible();
});

test("a log of 100,000 lines is followed, searched and scrolled with few lines in the page", async ({
  page,
}) => {
  await open(page, `/containers/${WEB}/logs`, "chatter");
  await expect(page.getByText("100,000 lines")).toBeVisible();
  await expect(page.getByText("line 99999 of a long log")).toBeVisible();
  const log = page.getByRole("log");
  await log.evaluate((element) => (element.scrollTop = 40_000 * 20));
  await expect(page.getByText("line 40010 of a long log")).toBeVisible();
  expect(await page.locator(".line").count()).toBeLessThan(120);
  await page.getByRole("searchbox").fill("line 77777 ");
  await expect(page.getByText("1 line", { exact: true })).toBeVisible();
});

test("the last known state is there at once, greyed, while the daemon is not", async ({ page }) => {
  await open(page, "/containers");
  await expect(page.getByRole("link", { name: "nightly-import" })).toBeVisible();
  await open(page, "/containers", "absent");
  await expect(page.getByRole("heading", { name: "The daemon is not running" })).toBeVisible();
  await expect(page.getByText("What follows is the last that was known.")).toBeVisible();
  await expect(page.locator("table.stale")).toContainText("nightly-import");
  await page.getByRole("button", { name: "Start the daemon" }).click();
  await expect(page.getByRole("heading", { name: "The daemon is not running" })).toHaveCount(0);
});

test("a machine that is stopped shows no list, and how to start it", async ({ page }) => {
  for (const hash of ["/containers", "/images", "/volumes", "/networks", "/why"]) {
    await open(page, hash, "stopped");
    await expect(page.getByRole("link", { name: "Start it" })).toBeVisible();
  }
});

test("an empty machine says how to begin", async ({ page }) => {
  await open(page, "/containers", "empty");
  await expect(page.getByText("linkspan run -d --name web")).toBeVisible();
  await open(page, "/images", "empty");
  await expect(page.getByText(/No image yet/)).toBeVisible();
  await open(page, "/volumes", "empty");
  await expect(page.getByText(/No volume yet/)).toBeVisible();
});

test("what has gone meanwhile is said to be gone", async ({ page }) => {
  for (const [hash, words] of [
    ["/containers/none", "There is no such container"],
    ["/images/none", "There is no such image"],
    ["/volumes/none", "There is no such volume"],
    ["/networks/none", "There is no such network"],
  ] as const) {
    await open(page, hash);
    await expect(page.getByRole("heading", { name: words })).toBeVisible();
  }
});

test("a daemon of another version is restarted as this one when that is wanted", async ({
  page,
}) => {
  await open(page, "/machine", "other");
  await expect(page.getByText(/the daemon is version 0\.3\.0/)).toBeVisible();
  await page.getByRole("button", { name: "Restart it as this version" }).click();
  await expect(page.getByRole("heading", { name: "The machine is stopped" })).toBeVisible();
});

test("a daemon that is lost is said to be, and what was known stays until it is back", async ({
  page,
}) => {
  await open(page, "/containers");
  await expect(page.getByRole("link", { name: "nightly-import" })).toBeVisible();
  await page.evaluate(() => (globalThis as unknown as { world: World }).world.loseDaemon());
  await expect(page.getByRole("heading", { name: "The daemon is not running" })).toBeVisible();
  await expect(page.locator("table.stale")).toContainText("nightly-import");
  await page.getByRole("button", { name: "Start the daemon" }).click();
  await expect(page.locator("table.stale")).toHaveCount(0);
  await expect(page.getByRole("link", { name: "nightly-import" })).toBeVisible();
});

test("notifications can be switched off", async ({ page }) => {
  await open(page, "/machine");
  const box = page.getByLabel("Tell me when the machine fails");
  await expect(box).toBeChecked();
  await box.uncheck();
  await page.getByRole("link", { name: "Images" }).click();
  await page.getByRole("link", { name: "Machine" }).click();
  await expect(box).not.toBeChecked();
});

// What everybody needs to be able to use the pages.
import AxeBuilder from "@axe-core/playwright";
import { expect, test } from "@playwright/test";
import { open, PAGES } from "./world.js";

for (const theme of ["light", "dark"] as const) {
  for (const { name, hash, world, ready } of PAGES) {
    test(`${name} has nothing that axe finds wrong, ${theme}`, async ({ page }) => {
      await page.emulateMedia({ colorScheme: theme, reducedMotion: "reduce" });
      await open(page, hash, world);
      await expect(page.getByText(ready).first()).toBeVisible();
      const { violations } = await new AxeBuilder({ page }).analyze();
      expect(violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)])).toEqual([]);
    });
  }

  for (const [button, hash] of [
    ["Run…", "/containers"],
    ["Pull…", "/images"],
    ["Build…", "/images"],
    ["Create…", "/volumes"],
    ["Create…", "/networks"],
  ] as const) {
    test(`the dialog ${button} of ${hash} has nothing that axe finds wrong, ${theme}`, async ({
      page,
    }) => {
      await page.emulateMedia({ colorScheme: theme, reducedMotion: "reduce" });
      await open(page, hash);
      await page.getByRole("button", { name: button, exact: true }).first().click();
      await expect(page.getByRole("dialog")).toBeVisible();
      const { violations } = await new AxeBuilder({ page }).include("dialog").analyze();
      expect(violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)])).toEqual([]);
    });
  }
}

test("every page is reached with the keyboard alone, and what has the focus is marked", async ({
  page,
}) => {
  await open(page, "/machine");
  await expect(page.getByRole("heading", { name: "The machine is running" })).toBeVisible();
  await page.keyboard.press("Tab");
  await expect(page.getByRole("link", { name: "Skip to the page" })).toBeFocused();
  for (const name of ["Machine", "Containers", "Images", "Volumes", "Networks", "Why Linux?"]) {
    await page.keyboard.press("Tab");
    const focused = page.getByRole("navigation", { name: "Pages" }).getByRole("link", { name });
    await expect(focused).toBeFocused();
    const outline = await focused.evaluate((element) => getComputedStyle(element).outlineStyle);
    expect(outline).toBe("solid");
  }
  await page.keyboard.press("Enter");
  await expect(page.getByRole("heading", { name: "Why Linux?" })).toBeVisible();
});

test("the skip link leads past the pages without leaving the page", async ({ page }) => {
  await open(page, "/images");
  await expect(page.getByText("busybox:latest")).toBeVisible();
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await expect(page.locator("#main")).toBeFocused();
  await expect(page.getByRole("heading", { name: "Images" })).toBeVisible();
});

test("a dialog keeps the focus, and Escape gives it back", async ({ page }) => {
  await open(page, "/images");
  const button = page.getByRole("button", { name: "Pull…" });
  await button.focus();
  await page.keyboard.press("Enter");
  await expect(page.getByRole("textbox", { name: "Image", exact: true })).toBeFocused();
  await page.keyboard.press("Escape");
  await expect(page.getByRole("dialog")).toHaveCount(0);
  await expect(button).toBeFocused();
});

test("a question asked before something is removed has the focus, and gives it back", async ({
  page,
}) => {
  await open(page, "/volumes");
  const remove = page.getByRole("button", { name: "Remove… shop_database" });
  await remove.focus();
  await page.keyboard.press("Enter");
  const question = page.getByRole("button", { name: "Remove shop_database and all that is in it" });
  await expect(question).toBeFocused();
  await page.keyboard.press("Escape");
  await expect(remove).toBeFocused();
});

test("who wants less motion gets none", async ({ page }) => {
  await page.emulateMedia({ reducedMotion: "reduce" });
  await open(page, "/machine");
  const leaf = page.locator(".leaf");
  await expect(leaf).toBeVisible();
  expect(await leaf.evaluate((element) => getComputedStyle(element).transitionDuration)).toBe("0s");
});

test("nothing is lost in the smallest window", async ({ page }) => {
  await page.setViewportSize({ width: 720, height: 480 });
  for (const { name, hash, world, ready } of PAGES) {
    await open(page, hash, world);
    await expect(page.getByText(ready).first(), name).toBeVisible();
    const wider = await page
      .locator("#main")
      .evaluate((element) => element.scrollWidth - element.clientWidth);
    expect(wider, `${name} scrolls sideways`).toBeLessThanOrEqual(0);
  }
});

for (const theme of ["light", "dark"] as const) {
  test(`what is greyed as the last known can still be read, ${theme}`, async ({ page }) => {
    await page.emulateMedia({ colorScheme: theme, reducedMotion: "reduce" });
    await open(page, "/containers");
    await expect(page.getByText("nightly-import")).toBeVisible();
    await open(page, "/containers", "absent");
    await expect(page.locator("table.stale")).toContainText("nightly-import");
    const { violations } = await new AxeBuilder({ page }).analyze();
    expect(violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)])).toEqual([]);
  });
}

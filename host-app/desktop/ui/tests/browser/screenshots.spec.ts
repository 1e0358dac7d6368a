// Pictures of every page in both themes: to look at, and for the docs (`npm run screenshots`).
import { statSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "@playwright/test";
import type { Page } from "@playwright/test";
import { open, PAGES } from "./world.js";

const DOCS = process.env.LINKSPAN_SCREENSHOTS;
const FOLDER = DOCS ?? "test-results/screenshots";
/** The docs have every page; the test's artefacts have every state, too. */
const WANTED = PAGES.filter(({ world }) => DOCS === undefined || world === undefined);
/** Bytes: they are kept in the repository. */
const LARGEST = 150_000;

async function picture(page: Page, name: string): Promise<void> {
  const path = join(FOLDER, `${name}.png`);
  await page.screenshot({ path, animations: "disabled" });
  expect(statSync(path).size, path).toBeLessThan(LARGEST);
}

for (const theme of ["light", "dark"] as const) {
  test(`every page has its picture, ${theme}`, async ({ page }) => {
    test.setTimeout(600_000);
    await page.emulateMedia({ colorScheme: theme, reducedMotion: "reduce" });
    for (const { name, hash, world, ready } of WANTED) {
      await open(page, hash, world);
      await expect(page.getByText(ready).first(), name).toBeVisible();
      if (name === "why") {
        await page.getByRole("button", { name: "Measure one run" }).click();
        await expect(page.getByRole("heading", { name: "The way of one run" })).toBeVisible();
      }
      // Charts are nothing without a few moments.
      if (["machine", "container-stats"].includes(name))
        await page.waitForTimeout(DOCS ? 32_000 : 5000);
      await picture(page, `${name}-${theme}`);
      if (name === "why") {
        for (const [part, heading] of [
          ["route", "The way of one run"],
          ["table", "A VM against a container"],
        ] as const) {
          const place = page.getByRole("heading", { name: heading });
          await place.evaluate((element) => element.scrollIntoView());
          await picture(page, `why-${part}-${theme}`);
        }
      }
    }
    await open(page, "/containers");
    await page.getByRole("button", { name: "Run…" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByLabel("Image").fill("nginx:1.29");
    await dialog.getByLabel("Name", { exact: true }).fill("site");
    await dialog.getByRole("button", { name: "Add a port" }).click();
    await dialog.getByLabel("This host's").fill("8081");
    await dialog.getByLabel("The container's").fill("80");
    await picture(page, `run-${theme}`);
  });
}

import { defineConfig } from "@playwright/test";

// Debian's Chromium by default; nothing is downloaded.
const executablePath = process.env.LINKSPAN_CHROMIUM ?? "/usr/bin/chromium";

export default defineConfig({
  testDir: "tests/browser",
  outputDir: "test-results",
  // A busy machine is slow, and no test says how fast anything is.
  timeout: 120_000,
  expect: { timeout: 30_000 },
  workers: 1,
  forbidOnly: true,
  reporter: [["./tests/browser/reporter.ts"]],
  use: {
    baseURL: "http://127.0.0.1:1421",
    viewport: { width: 1180, height: 760 },
    actionTimeout: 30_000,
    locale: "en-GB",
    timezoneId: "UTC",
    screenshot: "only-on-failure",
    launchOptions: { executablePath, args: ["--no-sandbox"] },
  },
  webServer: {
    command: "npm run --silent stub",
    url: "http://127.0.0.1:1421/stub.html",
    reuseExistingServer: false,
    timeout: 180_000,
  },
});

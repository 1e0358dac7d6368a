// Runs every test of the pages, and ends with one line about all of them.
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const folder = mkdtempSync(join(tmpdir(), "linkspan-ui-"));
const report = join(folder, "units.json");

/** Runs a program of `node_modules/.bin`; answers what it wrote and whether it was content. */
function run(program, args) {
  return new Promise((resolve) => {
    const child = spawn(program, args, {
      stdio: ["ignore", "pipe", "inherit"],
      shell: process.platform === "win32",
    });
    let said = "";
    child.stdout.on("data", (bytes) => {
      said += bytes;
      process.stdout.write(bytes);
    });
    child.on("error", (error) => {
      console.error(`cannot run ${program}: ${error.message}`);
      resolve({ said, content: false });
    });
    child.on("close", (code) => resolve({ said, content: code === 0 }));
  });
}

const units = await run("vitest", [
  "run",
  "--reporter=default",
  "--reporter=json",
  `--outputFile=${report}`,
]);
const browser = await run("playwright", ["test"]);

let passed = 0;
let failed = 0;
try {
  const { numPassedTests, numFailedTests } = JSON.parse(readFileSync(report, "utf8"));
  passed += numPassedTests;
  failed += numFailedTests;
} catch {
  // It did not get as far as a report, which `content` tells.
}
const closing = /pages in a browser: (\d+) passed, (\d+) failed/.exec(browser.said);
passed += Number(closing?.[1] ?? 0);
failed += Number(closing?.[2] ?? 0);
rmSync(folder, { recursive: true, force: true });
// A runner that broke before or beside its tests has failed, too.
if (!(units.content && browser.content) && failed === 0) failed = 1;
console.log(`ui: ${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;

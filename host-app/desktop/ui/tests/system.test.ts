import { expect, test } from "vitest";
import { systemOf } from "../src/lib/system.js";

test("the daemon's name of a system is for people, and the kind is in it", () => {
  expect(systemOf("Linux (Debian GNU/Linux 12)")).toBe("linux");
  expect(systemOf("macOS 15.1 Sequoia")).toBe("macos");
  expect(systemOf("Windows 11 Pro")).toBe("windows");
  expect(systemOf("")).toBe("linux");
});

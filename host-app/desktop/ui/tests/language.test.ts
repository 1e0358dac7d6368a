import { expect, test, vi } from "vitest";

test("a locale that is no language does not keep the pages from formatting numbers", async () => {
  vi.spyOn(navigator, "language", "get").mockReturnValue("C");
  expect(() => new Intl.NumberFormat(navigator.language)).toThrow(RangeError);
  await import("../src/lib/language.js");
  expect(new Intl.NumberFormat(navigator.language).format(0.5)).toBe("0.5");
});

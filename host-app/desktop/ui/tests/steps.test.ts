import { expect, test } from "vitest";
import type { Crossing } from "../src/lib/state/crossing.svelte.js";
import { route } from "../src/lib/steps.js";

function crossing(times: Partial<Crossing>): Crossing {
  const trace = [{ name: "pivot", startedUs: 100n, durationUs: 50n }] as Crossing["trace"];
  return {
    ...({} as Crossing),
    createUs: 3000,
    startUs: 9000,
    workUs: 500,
    daemonUs: 400,
    agentUs: 1400,
    trace,
    ...times,
  };
}

test("the route goes to the daemon, over vsock, and into the machine, in that order", () => {
  const steps = route(crossing({}));
  expect(steps.map(({ name }) => name)).toEqual([
    "create",
    "to the daemon",
    "vsock",
    "record",
    "start",
    "pivot",
    "its work",
  ]);
  expect(steps[2]).toMatchObject({ startedUs: 400, durationUs: 1000 });
  expect(steps[3]).toMatchObject({ startedUs: 1400, durationUs: 1600 });
});

test("a crossing that took longer than the run's own does not reach beyond it", () => {
  for (const step of route(crossing({ createUs: 900 })).slice(0, 4)) {
    expect(step.durationUs).toBeGreaterThanOrEqual(0);
    expect(step.startedUs + step.durationUs).toBeLessThanOrEqual(900);
  }
});

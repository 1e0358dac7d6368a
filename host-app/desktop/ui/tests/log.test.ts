import { cleanup, fireEvent, render, screen, waitFor } from "@testing-library/svelte";
import { afterEach, expect, test } from "vitest";
import { plain, spans } from "../src/lib/ansi.js";
import { api } from "../src/lib/api.js";
import LogView from "../src/lib/parts/LogView.svelte";
import { ContainerState } from "../src/gen/linkspan/v1/container_pb.js";
import { KEPT, LogStore } from "../src/lib/state/log.svelte.js";
import { World } from "../src/stub/world.js";

afterEach(cleanup);

test("colours become spans, and other sequences vanish", () => {
  const line = "\x1b[1;31mred\x1b[0m \x1b[38;5;2mgreen\x1b[39m\x1b[2K\x1b]0;title\x07 end\r";
  expect(spans(line).map(({ text, colour, bold }) => [text, colour, bold])).toEqual([
    ["red", 1, true],
    [" ", undefined, false],
    ["green", 2, false],
    [" end", undefined, false],
  ]);
  expect(plain(line)).toBe("red green end");
});

test("of a long log the last lines are kept, and only those in sight are in the page", async () => {
  const world = new World();
  const { id } = world.add({ name: "web" });
  world.say(
    id,
    Array.from({ length: KEPT + 50_000 }, (_, number) => `line ${number}`),
  );
  const log = new LogStore(api(world.transport()), id);
  void log.follow();
  await waitFor(() => expect(log.lines.at(-1)?.text).toBe(`line ${KEPT + 50_000 - 1}`), {
    timeout: 50_000,
  });
  expect(log.lines.length).toBeLessThanOrEqual(KEPT + 10_000);
  expect(log.dropped + log.lines.length).toBe(KEPT + 50_000);
  log.close();

  render(LogView, { api: api(world.transport()), container: id, started: 1n, live: true });
  await screen.findByText(/earlier ones not kept/, undefined, { timeout: 50_000 });
  expect(document.querySelectorAll(".line").length).toBeLessThan(200);
});

test("a search shows the lines that have it, colours or not", async () => {
  const world = new World();
  const { id } = world.add({ name: "web" });
  world.say(id, ["all well", "\x1b[31mERR\x1b[0mor: full", "well again"]);
  render(LogView, { api: api(world.transport()), container: id, started: 1n, live: true });
  await screen.findByText("3 lines");
  await fireEvent.input(screen.getByRole("searchbox"), { target: { value: "error" } });
  await screen.findByText("1 line");
  expect(screen.getByRole("log").textContent).toContain("ERRor: full");
});

test("a log that ended with its container goes on with the next start, and nothing comes twice", async () => {
  const world = new World();
  world.runs();
  const { id } = world.add({ name: "web" });
  world.say(id, ["first start"]);
  const client = api(world.transport());
  const { rerender } = render(LogView, { api: client, container: id, started: 1n, live: true });
  await screen.findByText("first start");
  world.become(id, ContainerState.EXITED);
  await waitFor(() => expect(world.logReaders).toBe(0));
  world.become(id, ContainerState.RUNNING);
  world.say(id, ["second start"]);
  await rerender({ started: 2n });
  await screen.findByText("second start");
  expect(screen.getByText("2 lines")).toBeTruthy();

  await rerender({ live: false });
  world.say(id, ["said meanwhile"]);
  await rerender({ live: true });
  await screen.findByText("said meanwhile");
  expect(screen.getByText("3 lines")).toBeTruthy();
});

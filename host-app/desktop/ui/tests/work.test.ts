import { expect, test } from "vitest";
import { ErrorCode } from "../src/gen/linkspan/v1/error_pb.js";
import { api } from "../src/lib/api.js";
import { build } from "../src/lib/build.js";
import { newStream } from "../src/lib/shell.js";
import { CrossingStore } from "../src/lib/state/crossing.svelte.js";
import { TaskStore } from "../src/lib/state/tasks.svelte.js";
import { route } from "../src/lib/steps.js";
import { load, pull } from "../src/lib/transfers.js";
import { failure, World } from "../src/stub/world.js";

const FOLDER = { token: "1", path: "/home/me/app" };
const OPTIONS = {
  folder: FOLDER,
  dockerfile: "",
  tag: "app:1",
  target: "",
  args: {},
  noCache: false,
  pull: false,
};

test("a pull tells each layer, and ends with all of them complete", async () => {
  const world = new World();
  const tasks = new TaskStore();
  const client = api(world.transport());
  const { task, end } = tasks.begin("Pull alpine", (task) => pull(client, task, "alpine"));
  expect(await end).toBe(true);
  expect(task.parts.map(({ id }) => id)).toHaveLength(3);
  expect(task.parts[0]).toMatchObject({ status: "Pull complete", current: 48_000_000 });
  expect(world.goods.images.map(({ tags }) => tags)).toEqual([["alpine:latest"]]);
  expect(task.result).toBe(world.goods.images[0]?.id);
});

test("a transfer that is cancelled ends as cancelled, not as failed", async () => {
  const world = new World();
  world.goods.stepMs = 60_000;
  const tasks = new TaskStore();
  const client = api(world.transport());
  const { task, end } = tasks.begin("Pull alpine", (task) => pull(client, task, "alpine"));
  task.cancel();
  expect(await end).toBe(false);
  expect(task.state).toBe("cancelled");
  expect(task.failure).toBeUndefined();
});

test("a transfer that is refused keeps the registry's words", async () => {
  const world = new World();
  world.refuse.set("Pull", failure(ErrorCode.PERMISSION_DENIED, "denied: log in first"));
  const tasks = new TaskStore();
  const client = api(world.transport());
  const { task, end } = tasks.begin("Pull x", (task) => pull(client, task, "x"));
  expect(await end).toBe(false);
  expect(task.failure?.message).toBe("denied: log in first");
});

test("a build gets the images and files that it asks for, and its output is kept", async () => {
  const world = new World();
  const tasks = new TaskStore();
  const client = api(world.transport());
  const { task, end } = tasks.begin("Build", (task) => build(client, world.shell(), task, OPTIONS));
  expect(await end).toBe(true);
  expect(world.asked).toEqual(["Build app:1", "ProvideImage busybox"]);
  expect(world.carried).toEqual(["context app"]);
  expect(task.parts.map(({ status }) => status)).toEqual([
    "Was there",
    "Done 412 ms",
    "Done 412 ms",
  ]);
  expect(task.output).toContain("#3 all well");
  expect(world.goods.images[0]?.tags).toEqual(["app:1"]);
});

test("a base image that is not built in is pulled by the build", async () => {
  const world = new World();
  world.refuse.set("ProvideImage", failure(ErrorCode.NOT_FOUND, "no built-in image"));
  const tasks = new TaskStore();
  const client = api(world.transport());
  const { end } = tasks.begin("Build", (task) => build(client, world.shell(), task, OPTIONS));
  expect(await end).toBe(true);
  expect(world.asked).toContain("Pull busybox");
});

test("a build whose files cannot be read fails with the reason", async () => {
  const world = new World();
  world.goods.stepMs = 60_000;
  const shell = {
    ...world.shell(),
    sendContext: () => Promise.reject(failure(ErrorCode.NOT_FOUND, "cannot read `app`")),
  };
  const tasks = new TaskStore();
  const client = api(world.transport());
  const { task, end } = tasks.begin("Build", (task) => build(client, shell, task, OPTIONS));
  expect(await end).toBe(false);
  expect(task.failure?.message).toBe("cannot read `app`");
});

test("an archive is loaded from where the user has it", async () => {
  const world = new World();
  const tasks = new TaskStore();
  const client = api(world.transport());
  const archive = { token: "2", path: "/home/me/images.tar" };
  const { end } = tasks.begin("Load", (task) => load(client, world.shell(), task, archive));
  expect(await end).toBe(true);
  expect(world.carried).toEqual(["file /home/me/images.tar"]);
});

test("byte streams have names of their own, as the preface wants them", () => {
  const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
  expect(newStream()).toMatch(uuid);
  expect(newStream()).not.toBe(newStream());
});

test("a crossing is measured from end to end, and leaves nothing behind", async () => {
  const world = new World();
  world.runs();
  world.goods.image("busybox:latest", [1]);
  const store = new CrossingStore(api(world.transport()));
  await store.measure();
  expect(store.failure).toBeUndefined();
  expect(world.containers).toEqual([]);
  const seen = store.last;
  if (!seen) throw new Error("nothing was measured");
  expect(seen.container[0]).toBe(seen.vm[0]);
  expect(seen.memory).toBeGreaterThan(0n);
  const steps = route(seen);
  expect(steps.map(({ name }) => name)).toEqual([
    "create",
    "to the daemon",
    "vsock",
    "record",
    "start",
    ...seen.trace.map(({ name }) => name),
    "its work",
  ]);
  for (const { startedUs, durationUs } of steps) {
    expect(startedUs).toBeGreaterThanOrEqual(0);
    expect(durationUs).toBeGreaterThanOrEqual(0);
  }
});

test("a crossing that fails says why, and leaves nothing behind either", async () => {
  const world = new World();
  world.runs();
  const store = new CrossingStore(api(world.transport()));
  await store.measure();
  expect(store.failure?.message).toContain("no such image");
  expect(store.doing).toBe("");
  expect(world.containers).toEqual([]);
});

import { cleanup, fireEvent, render, screen, waitFor, within } from "@testing-library/svelte";
import { afterEach, beforeEach, expect, test } from "vitest";
import App from "../src/App.svelte";
import { MachineState } from "../src/gen/linkspan/host/v1/machine_pb.js";
import { ContainerState } from "../src/gen/linkspan/v1/container_pb.js";
import { ErrorCode } from "../src/gen/linkspan/v1/error_pb.js";
import { failure, World } from "../src/stub/world.js";

let world: World;

beforeEach(() => {
  world = new World();
});
afterEach(() => {
  cleanup();
  location.hash = "";
  localStorage.clear();
});

function open(hash = ""): void {
  location.hash = hash;
  dispatchEvent(new HashChangeEvent("hashchange"));
  render(App, { transport: world.transport(), shell: world.shell() });
}

test("a machine that is stopped can be started, and says why it is slow", async () => {
  open();
  await fireEvent.click(await screen.findByRole("button", { name: "Start" }));
  expect(await screen.findByRole("heading", { name: "The machine is running" })).toBeTruthy();
  expect(screen.getByText(/runs slowly, under tcg/)).toBeTruthy();
  expect(screen.getByRole("row", { name: /kernel done/ })).toBeTruthy();
});

test("a start that fails says what, why and what to do", async () => {
  world.refuse.set(
    "Start",
    failure(ErrorCode.TIMED_OUT, "the kernel did not start the agent", "read the log"),
  );
  open();
  await fireEvent.click(await screen.findByRole("button", { name: "Start" }));
  const alert = await screen.findByRole("alert");
  expect(alert.textContent).toContain("the kernel did not start the agent");
  expect(alert.textContent).toContain("read the log");
});

test("without a machine it says so, and the first start makes one", async () => {
  world.noMachine = true;
  open();
  expect(await screen.findByRole("heading", { name: "There is no machine yet" })).toBeTruthy();
  expect(screen.queryByRole("alert")).toBeNull();
  await fireEvent.click(screen.getByRole("button", { name: "Start" }));
  expect(await screen.findByRole("heading", { name: "The machine is running" })).toBeTruthy();
});

test("an absent daemon is told, and started on request", async () => {
  world.presence = { kind: "absent", message: "no daemon answers at /run/x.sock", hint: "" };
  open();
  expect(await screen.findByRole("heading", { name: "The daemon is not running" })).toBeTruthy();
  await fireEvent.click(screen.getByRole("button", { name: "Start the daemon" }));
  expect(await screen.findByRole("heading", { name: "The machine is stopped" })).toBeTruthy();
});

test("a daemon of another version is told, and not offered to be started", async () => {
  world.presence = { kind: "other", message: "it is 0.9, this is 0.1", hint: "restart it" };
  open();
  expect(await screen.findByText("it is 0.9, this is 0.1")).toBeTruthy();
  expect(screen.queryByRole("button", { name: "Start the daemon" })).toBeNull();
});

test("settings are sent as far as they were changed, and refused in the daemon's words", async () => {
  open();
  await fireEvent.input(await screen.findByLabelText("Processors"), { target: { value: "4" } });
  await fireEvent.click(screen.getByRole("button", { name: "Save" }));
  await waitFor(() => expect(world.machine.settings?.cpus).toBe(4));
  expect(world.machine.settings?.memoryMib).toBe(2048n);

  world.refuse.set("Update", failure(ErrorCode.INVALID_ARGUMENT, "64 processors: this host has 2"));
  await fireEvent.input(screen.getByLabelText("Processors"), { target: { value: "64" } });
  await fireEvent.click(screen.getByRole("button", { name: "Save" }));
  expect((await screen.findByRole("alert")).textContent).toContain("this host has 2");
});

test("containers follow what happens to them, without being asked for again and again", async () => {
  world.runs();
  const web = world.add({ name: "web" });
  open("#/containers");
  const row = await screen.findByRole("row", { name: /web/ });
  expect(within(row).getByText("running")).toBeTruthy();
  world.become(web.id, ContainerState.PAUSED);
  await within(row).findByText("paused");
  world.add({ name: "db" });
  expect(await screen.findByRole("row", { name: /db/ })).toBeTruthy();
});

test("containers of a compose project stand together, and are found by any word", async () => {
  world.runs();
  world.add({ name: "alone" });
  for (const name of ["shop-web", "shop-db"]) {
    world.add({ name, labels: { "com.docker.compose.project": "shop" } });
  }
  open("#/containers");
  await screen.findByRole("rowheader", { name: "shop" });
  await fireEvent.input(screen.getByRole("searchbox"), { target: { value: "shop db" } });
  await waitFor(() => expect(screen.queryByText("alone")).toBeNull());
  expect(screen.getByText("shop-db")).toBeTruthy();
  expect(screen.queryByText("shop-web")).toBeNull();
});

test("an action on several goes to those that it fits, and a failure stays with its container", async () => {
  world.runs();
  world.add({ name: "one" });
  world.add({ name: "two", state: ContainerState.EXITED });
  open("#/containers");
  await fireEvent.click(await screen.findByLabelText("Choose all"));
  world.refuse.set("Stop", failure(ErrorCode.WRONG_STATE, "it does not stop"));
  await fireEvent.click(screen.getByRole("button", { name: "Stop" }));
  expect((await screen.findByRole("alert")).textContent).toContain("it does not stop");
  expect(world.asked).toEqual(["Stop one"]);
});

test("nothing is removed before it was confirmed", async () => {
  world.runs();
  world.add({ name: "one", state: ContainerState.EXITED });
  open("#/containers");
  await fireEvent.click(await screen.findByLabelText("Choose one"));
  await fireEvent.click(screen.getByRole("button", { name: "Remove…" }));
  expect(world.asked).toEqual([]);
  await fireEvent.click(screen.getByRole("button", { name: /^Remove 1/ }));
  await waitFor(() => expect(screen.queryByText("one")).toBeNull());
  expect(world.asked).toEqual(["Remove one"]);
});

test("a machine that stops leaves its containers in sight, as the last known", async () => {
  world.runs();
  world.add({ name: "web" });
  open("#/containers");
  await screen.findByText("web");
  world.machineBecomes({ state: MachineState.STOPPED });
  await waitFor(() => expect(document.querySelector("table.stale")).toBeTruthy());
  expect(screen.getByText("web")).toBeTruthy();
});

test("ports are links, which open outside of the window", async () => {
  world.runs();
  world.add({ name: "web", ports: [{ hostIp: "127.0.0.1", hostPort: 8080, containerPort: 80 }] });
  open("#/containers");
  await fireEvent.click(await screen.findByRole("link", { name: "8080→80" }));
  expect(world.browsed).toEqual(["http://localhost:8080/"]);
});

test("a machine that failed and still has its VM can be ended, and not started before that", async () => {
  world.machineBecomes({ state: MachineState.FAILED, vmmPid: 7 });
  open();
  expect(await screen.findByRole("heading", { name: "The machine does not answer" })).toBeTruthy();
  expect(screen.queryByRole("button", { name: "Start" })).toBeNull();
  await fireEvent.click(screen.getByRole("button", { name: "Cut the power…" }));
  await fireEvent.click(screen.getByRole("button", { name: /^End it at once/ }));
  expect(await screen.findByRole("heading", { name: "The machine is stopped" })).toBeTruthy();
});

test("a machine whose VM stands still says so, and why", async () => {
  world.runs();
  world.machineBecomes({ halted: "no room is left on this host" });
  open();
  expect(await screen.findByRole("heading", { name: "The machine stands still" })).toBeTruthy();
  expect(screen.getByText(/no room is left on this host/)).toBeTruthy();
  expect(screen.getByText("Stands still")).toBeTruthy();
});

test("a VM of before the daemon is not ended by a word as harmless as Cancel", async () => {
  world.machineBecomes({ state: MachineState.STARTING, adopting: true });
  open();
  expect(await screen.findByRole("button", { name: "Cut the power…" })).toBeTruthy();
  expect(screen.queryByRole("button", { name: "Cancel" })).toBeNull();
});

test("a dialog of the system that cannot be opened is told, wherever it is asked for", async () => {
  const refused = () =>
    world.refuse.set("Pick", failure(ErrorCode.INTERNAL, "the dialog could not be opened"));
  world.runs();
  world.fills();
  const { id } = world.add({ name: "web" });
  for (const [hash, buttons] of [
    ["#/images", ["Load…"]],
    ["#/images", ["Build…", "Choose a folder…"]],
    ["#/containers", ["Run…", "Add a folder or volume", "Folder…"]],
    ["#/machine", ["Add a folder…"]],
    [`#/containers/${id}/files`, ["Upload a file…"]],
  ] as const) {
    open(hash);
    refused();
    for (const name of buttons) {
      const button = await screen.findByText(name, { selector: "button:not(:disabled)" });
      await fireEvent.click(button);
    }
    const alert = await screen.findByRole("alert", { hidden: true });
    expect(alert.textContent, hash).toContain("the dialog could not be opened");
    cleanup();
  }
});

test("a port that cannot be opened says why", async () => {
  world.runs();
  world.add({ name: "web", ports: [{ hostIp: "", hostPort: 8080, containerPort: 80 }] });
  world.refuse.set("Browse", failure(ErrorCode.INTERNAL, "there is no browser"));
  open("#/containers");
  await fireEvent.click(await screen.findByRole("link", { name: "8080→80" }));
  expect((await screen.findByRole("alert")).textContent).toContain("there is no browser");
});

test("a port that is open for IPv4 and IPv6 is one link, another address is another", async () => {
  world.runs();
  const port = (hostIp: string) => ({ hostIp, hostPort: 8080, containerPort: 80 });
  world.add({ name: "web", ports: ["0.0.0.0", "::", "10.1.2.3"].map(port) });
  open("#/containers");
  const links = await screen.findAllByRole("link", { name: "8080→80" });
  expect(links.map((link) => link.getAttribute("href"))).toEqual([
    "http://localhost:8080/",
    "http://10.1.2.3:8080/",
  ]);
});

test("a build argument without a value is refused by name", async () => {
  world.runs();
  world.picks = [{ token: "1", path: "/home/me/app" }];
  open("#/images");
  await fireEvent.click(await screen.findByText("Build…", { selector: "button:not(:disabled)" }));
  await fireEvent.click(screen.getByText("Choose a folder…"));
  const build = screen.getByText("Build", { selector: "button" }) as HTMLButtonElement;
  await waitFor(() => expect(build.disabled).toBe(false));
  await fireEvent.input(screen.getByLabelText(/Build arguments/), { target: { value: "VERSION" } });
  expect(screen.getByText("`VERSION` is not KEY=VALUE")).toBeTruthy();
  expect(build.disabled).toBe(true);
});

// dockerode (npm) against a machine of Linkspan. DOCKER_HOST says where, LINKSPAN_TEST_REGISTRY is
// a registry on the host's loopback, LINKSPAN_TEST_NODE_MODULES the folder that dockerode is in.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { PassThrough, Readable } from "node:stream";
import { test } from "node:test";
import { buffer, text } from "node:stream/consumers";

const require = createRequire(`${process.env.LINKSPAN_TEST_NODE_MODULES}/`);
const Docker = require("dockerode");
const tar = require("tar-stream");

const docker = new Docker();
const registry = process.env.LINKSPAN_TEST_REGISTRY;
const unique = (name) => `node-${name}-${process.pid}`;

/** A container of busybox that goes with the test. */
async function create(t, options) {
  const container = await docker.createContainer({ Image: "busybox", ...options });
  t.after(() => container.remove({ force: true, v: true }).catch(gone));
  return container;
}

async function run(t, options) {
  const container = await create(t, options);
  await container.start();
  return container;
}

function gone(error) {
  if (error.statusCode !== 404) throw error;
}

/** What a multiplexed stream has, by kind. */
async function demultiplex(stream) {
  const [out, err] = [new PassThrough(), new PassThrough()];
  docker.modem.demuxStream(stream, out, err);
  stream.once("end", () => [out, err].forEach((each) => each.end()));
  stream.once("close", () => [out, err].forEach((each) => each.end()));
  return Promise.all([text(out), text(err)]);
}

/** The lines of a progress stream; rejects with the error in it. */
async function followed(stream) {
  const lines = await new Promise((resolve, reject) =>
    docker.modem.followProgress(stream, (error, all) => (error ? reject(error) : resolve(all))),
  );
  const failed = lines.find((line) => line.error);
  if (failed) throw new Error(failed.error);
  return lines;
}

function archive(files) {
  const pack = tar.pack();
  for (const [name, content] of Object.entries(files)) pack.entry({ name }, content);
  pack.finalize();
  return pack;
}

const is = (status, words) => (error) => {
  assert.equal(error.statusCode, status, error);
  assert.match(error.json?.message ?? error.message, words);
  return true;
};

test("a run gives output and exit code", async (t) => {
  const [out, err] = [new PassThrough(), new PassThrough()];
  const script = "echo out; echo err >&2; exit 3";
  const name = unique("run");
  const options = { Tty: false, name };
  t.after(() => docker.getContainer(name).remove({ force: true }).catch(gone));
  const [ended] = await docker.run("busybox", ["sh", "-c", script], [out, err], options);
  out.end();
  err.end();
  assert.deepEqual([ended.StatusCode, await text(out), await text(err)], [3, "out\n", "err\n"]);
});

test("a container's life", async (t) => {
  const name = unique("life");
  const container = await run(t, { name, Cmd: ["sleep", "1000"], Labels: { of: name } });
  const seen = await container.inspect();
  assert.deepEqual([seen.Name, seen.State.Status], [`/${name}`, "running"]);
  const listed = await docker.listContainers({ filters: { label: [`of=${name}`] } });
  assert.deepEqual(listed.map((each) => each.Id), [container.id]);
  await container.pause();
  assert.equal((await container.inspect()).State.Paused, true);
  await container.unpause();
  await container.rename({ name: `${name}-new` });
  assert.match(JSON.stringify(await container.top()), /sleep 1000/);
  const sample = await container.stats({ stream: false });
  assert.ok(sample.memory_stats.usage > 0);
  await container.kill({ signal: "SIGKILL" });
  assert.equal((await container.wait()).StatusCode, 137);
  await container.remove();
  await assert.rejects(container.inspect(), is(404, /no such container/i));
});

test("logs are followed to their end", async (t) => {
  const container = await run(t, { Cmd: ["sh", "-c", "echo one; echo two >&2; sleep 1; echo three"] });
  const stream = await container.logs({ follow: true, stdout: true, stderr: true });
  assert.deepEqual(await demultiplex(stream), ["one\nthree\n", "two\n"]);
  const tail = await container.logs({ follow: false, stdout: true, tail: 1 });
  assert.equal(tail.subarray(8).toString(), "three\n");
});

test("attach carries both ways, and its end", async (t) => {
  const container = await create(t, {
    Cmd: ["cat"], OpenStdin: true, StdinOnce: true, AttachStdin: true, AttachStdout: true,
  });
  const both = { stream: true, stdin: true, stdout: true, stderr: true, hijack: true };
  const stream = await container.attach(both);
  const heard = demultiplex(stream);
  await container.start();
  stream.write("there and back\n");
  stream.end();
  assert.deepEqual(await heard, ["there and back\n", ""]);
  assert.equal((await container.wait()).StatusCode, 0);
});

test("a stream that is closed early leaves the container and the engine as they are", async (t) => {
  const container = await run(t, { Cmd: ["sh", "-c", "while true; do echo again; sleep 0.1; done"] });
  for (const open of [
    () => container.logs({ follow: true, stdout: true }),
    () => container.stats({ stream: true }),
    () => container.attach({ stream: true, stdout: true }),
  ]) {
    const stream = await open();
    await new Promise((resolve, reject) => stream.once("data", resolve).once("error", reject));
    stream.destroy();
  }
  (await docker.getEvents()).destroy();
  assert.equal((await container.inspect()).State.Status, "running");
});

test("exec streams and tells its end", async (t) => {
  const container = await run(t, { Cmd: ["sleep", "1000"] });
  const exec = await container.exec({
    Cmd: ["sh", "-c", "cat; echo err >&2; exit 4"],
    AttachStdin: true, AttachStdout: true, AttachStderr: true,
  });
  const stream = await exec.start({ hijack: true, stdin: true });
  const heard = demultiplex(stream);
  stream.end("typed\n");
  assert.deepEqual(await heard, ["typed\n", "err\n"]);
  const { Running, ExitCode } = await exec.inspect();
  assert.deepEqual([Running, ExitCode], [false, 4]);
});

test("files go in and come out as archives", async (t) => {
  const container = await run(t, { Cmd: ["sleep", "1000"] });
  await container.putArchive(archive({ word: "packed" }), { path: "/tmp" });
  const packed = await buffer(await container.getArchive({ path: "/tmp/word" }));
  const content = await new Promise((resolve, reject) => {
    const extract = tar.extract();
    extract.on("entry", (header, stream, next) => {
      text(stream).then((body) => resolve([header.name, body]), reject);
      stream.on("end", next);
    });
    extract.on("error", reject);
    extract.end(packed);
  });
  assert.deepEqual(content, ["word", "packed"]);
  await assert.rejects(container.getArchive({ path: "/nothing" }), is(404, /could not find/i));
});

test("events are told as they happen", async (t) => {
  const name = unique("events");
  const stream = await docker.getEvents({ filters: { container: [name], type: ["container"] } });
  t.after(() => stream.destroy());
  const container = await create(t, { name, Cmd: ["true"] });
  await container.start();
  let heard = "";
  const actions = [];
  for await (const chunk of stream) {
    heard += chunk;
    const lines = heard.split("\n");
    heard = lines.pop();
    actions.push(...lines.filter(Boolean).map((line) => JSON.parse(line).Action));
    if (actions.includes("die")) break;
  }
  assert.deepEqual(actions, ["create", "start", "die"]);
});

test("images are saved, loaded, tagged, pushed and pulled", async (t) => {
  const container = await create(t, { Cmd: ["true"] });
  const repo = `${registry}/${unique("image")}`;
  const changes = 'CMD ["echo", "made"]';
  const { Id } = await container.commit({ repo, tag: "v1", changes, comment: "for a test" });
  const image = docker.getImage(`${repo}:v1`);
  assert.equal((await image.history())[0].Comment, "for a test");
  const saved = await buffer(await image.get());
  await image.remove();
  await assert.rejects(image.inspect(), is(404, /no such image/i));
  await buffer(await docker.loadImage(Readable.from([saved])));
  assert.equal((await image.inspect()).Id, Id);
  await image.tag({ repo, tag: "v2" });
  const pushed = await followed(await docker.getImage(repo).push({ tag: "v2" }));
  const { Digest } = pushed.find((line) => line.aux).aux;
  await docker.getImage(`${repo}:v2`).remove();
  await image.remove();
  await followed(await docker.pull(`${repo}:v2`));
  const pulled = await docker.getImage(`${repo}:v2`).inspect();
  assert.deepEqual([pulled.Id, pulled.RepoDigests], [Id, [`${repo}@${Digest}`]]);
  await docker.getImage(`${repo}:v2`).remove();
});

test("an image is built", async (t) => {
  const name = unique("built");
  const build = (dockerfile, options) =>
    docker.buildImage(archive({ Dockerfile: dockerfile, word: "of the context" }), options);
  const lines = await followed(await build("FROM busybox\nCOPY word /word\nCMD cat /word\n", { t: name }));
  assert.ok(lines.some((line) => /^Successfully tagged/.test(line.stream ?? "")), JSON.stringify(lines));
  const container = await run(t, { Image: name });
  await container.wait();
  const said = await container.logs({ stdout: true });
  assert.equal(said.subarray(8).toString(), "of the context");
  await container.remove();
  await docker.getImage(name).remove();
  await assert.rejects(build("FROM busybox\nRUN exit 5\n").then(followed), /non-zero code: 5/);
});

test("networks and volumes", async (t) => {
  const [network, volume] = [unique("network"), unique("volume")];
  await docker.createVolume({ Name: volume, Labels: { of: volume } });
  const made = await docker.createNetwork({ Name: network });
  const server = await run(t, {
    name: unique("server"),
    Cmd: ["sh", "-c", "echo served > /www/index.html; exec httpd -f -h /www"],
    ExposedPorts: { "80/tcp": {} },
    HostConfig: {
      Binds: [`${volume}:/www`], NetworkMode: network,
      PortBindings: { "80/tcp": [{ HostIp: "127.0.0.1", HostPort: "" }] },
    },
  });
  const [{ HostPort }] = (await server.inspect()).NetworkSettings.Ports["80/tcp"];
  // The port listens already; the server behind it may take a moment more.
  const end = Date.now() + 60_000;
  let body;
  while (body !== "served\n" && Date.now() < end) {
    body = await fetch(`http://127.0.0.1:${HostPort}/`).then((answer) => answer.text(), () => undefined);
  }
  assert.equal(body, "served\n");
  const members = Object.keys((await made.inspect()).Containers);
  assert.deepEqual(members, [server.id]);
  await assert.rejects(docker.getVolume(volume).remove(), is(409, /volume is in use/i));
  await server.remove({ force: true });
  await made.remove();
  await docker.getVolume(volume).remove();
  await assert.rejects(docker.getNetwork(network).inspect(), is(404, /not found/));
  await assert.rejects(docker.getVolume(volume).inspect(), is(404, /no such volume/));
});

test("errors have the engine's status and words", async (t) => {
  assert.equal((await docker.ping()).toString(), "OK");
  assert.equal((await docker.info()).OSType, "linux");
  const name = unique("taken");
  await create(t, { name });
  await assert.rejects(docker.createContainer({ Image: "busybox", name }), is(409, /is already in use by container/));
  await assert.rejects(docker.createContainer({ Image: `${registry}/nothing:v1` }), is(404, /No such image/));
  await assert.rejects(run(t, { Cmd: ["nosuch"] }), is(400, /executable file not found/));
  await assert.rejects(docker.listNodes(), is(503, /not a swarm manager/));
});

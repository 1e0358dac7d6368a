// Images between this host, the machine and registries, each as the work of a task.
import type { Api } from "./api.js";
import { newStream } from "./shell.js";
import type { Picked, Shell } from "./shell.js";
import type { Task } from "./state/tasks.svelte.js";

/** Answers the image's id. */
export async function pull(
  api: Api,
  task: Task,
  reference: string,
  platform = "",
): Promise<string> {
  let id = "";
  const answers = api.registry.pull({ reference, platform }, { signal: task.signal });
  for await (const { kind } of answers) {
    if (kind.case === "progress") task.progress(kind.value);
    if (kind.case === "pulled") id = kind.value.id;
  }
  return id;
}

/** Answers the digest of the manifest. */
export async function push(api: Api, task: Task, reference: string): Promise<string> {
  let digest = "";
  for await (const { kind } of api.registry.push({ reference }, { signal: task.signal })) {
    if (kind.case === "progress") task.progress(kind.value);
    if (kind.case === "pushed") digest = kind.value.digest;
  }
  return digest;
}

/** An archive of this host. Answers the id of the last image in it. */
export async function load(api: Api, shell: Shell, task: Task, picked: Picked): Promise<string> {
  const streamId = newStream();
  // When the call fails the bytes are not taken any more, and the call knows why.
  const sent = shell.sendFile(picked, streamId);
  sent.catch(() => {});
  let id = "";
  for await (const { kind } of api.images.load({ streamId }, { signal: task.signal })) {
    if (kind.case === "progress") {
      const { layer, bytes } = kind.value;
      task.part({ id: layer, status: "Loading", current: Number(bytes), total: 0 });
    }
    if (kind.case === "loaded") {
      id = kind.value.id;
      task.say(`Loaded ${kind.value.tags.join(", ") || id}`);
    }
  }
  await sent;
  return id;
}

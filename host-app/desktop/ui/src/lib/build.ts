// A build's dialogue: the machine asks for images and files, the pages see that it gets them.
import { create, fromBinary } from "@bufbuild/protobuf";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { BuildStepState, ContextListingSchema } from "../gen/linkspan/v1/build_pb.js";
import type {
  BuildRequestSchema,
  BuildStep,
  ContextFolder,
  ImagesWanted,
} from "../gen/linkspan/v1/build_pb.js";
import { ErrorCode } from "../gen/linkspan/v1/error_pb.js";
import type { Api } from "./api.js";
import { failureOf } from "./failure.js";
import { duration } from "./format.js";
import type { Picked, Shell } from "./shell.js";
import type { Task } from "./state/tasks.svelte.js";
import { pull } from "./transfers.js";

export interface BuildOptions {
  folder: Picked;
  /** Within the folder; empty: `Dockerfile`. */
  dockerfile: string;
  tag: string;
  /** Empty: the last stage. */
  target: string;
  args: Record<string, string>;
  noCache: boolean;
  pull: boolean;
}

type Request = MessageInitShape<typeof BuildRequestSchema>;

/** Entries of one message. */
const ENTRIES = 4096;

/** What is to be said, in order, until the call ends. */
class Answers implements AsyncIterable<Request> {
  #waiting: Request[] = [];
  #wake: (() => void) | undefined;
  #ended = false;

  say(kind: NonNullable<Request["kind"]>): void {
    this.#waiting.push({ kind });
    this.#wake?.();
  }

  end(): void {
    this.#ended = true;
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Request> {
    for (;;) {
      const next = this.#waiting.shift();
      if (next) yield next;
      else if (this.#ended) return;
      else await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}

/** Answers the image's id. */
export async function build(
  api: Api,
  shell: Shell,
  task: Task,
  options: BuildOptions,
): Promise<string> {
  const { folder, dockerfile, tag, target, args, noCache } = options;
  const recipe = await shell.openContext(folder, dockerfile);
  const answers = new Answers();
  answers.say({
    case: "open",
    value: {
      // The path tells the folder from others on the next build.
      context: { kind: { case: "folder", value: folder.path } },
      dockerfile: recipe.dockerfile,
      dockerfileName: recipe.name,
      ignore: recipe.ignore,
      ignoreName: recipe.ignoreName,
      tags: tag === "" ? [] : [tag],
      buildArgs: args,
      target,
      noCache,
      pull: options.pull,
    },
  });
  const text = new TextDecoder();
  const steps = new Map<number, string>();
  // A failure of the transfer that the call does not notice by itself.
  let lost: { error: unknown } | undefined;
  let id: string | undefined;
  const stop = new AbortController();
  task.signal.addEventListener("abort", () => stop.abort(), { once: true });
  try {
    for await (const { kind } of api.builds.build(answers, { signal: stop.signal })) {
      switch (kind.case) {
        case "imagesWanted":
          await bring(api, task, kind.value, options.pull);
          answers.say({ case: "imagesReady", value: {} });
          break;
        case "list":
          tell(answers, await shell.listContext(folder, kind.value.folders));
          break;
        case "filesWanted":
          shell.sendContext(folder, kind.value.paths, kind.value.streamId).catch((error) => {
            lost = { error };
            stop.abort();
          });
          break;
        case "step":
          steps.set(kind.value.number, kind.value.title);
          step(task, kind.value);
          break;
        case "output":
          for (const line of text.decode(kind.value.data).replace(/\n$/, "").split("\n")) {
            task.print(`#${kind.value.number} ${line}`);
          }
          break;
        case "warning":
          task.print(`warning: ${kind.value.message} (${kind.value.rule})`);
          break;
        case "built":
          id = kind.value.id;
          break;
      }
    }
  } catch (error) {
    throw lost ? lost.error : error;
  } finally {
    answers.end();
  }
  if (id === undefined) throw new Error("the build ended without a result");
  return id;
}

const WORDS: Record<BuildStepState, string> = {
  [BuildStepState.UNSPECIFIED]: "",
  [BuildStepState.RUNNING]: "Running",
  [BuildStepState.DONE]: "Done",
  [BuildStepState.CACHED]: "Was there",
  [BuildStepState.FAILED]: "Failed",
};

function step(task: Task, { number, title, state, durationUs }: BuildStep): void {
  const runs = state === BuildStepState.RUNNING;
  const took = state === BuildStepState.DONE ? ` ${duration(durationUs)}` : "";
  task.part({ id: title, status: `${WORDS[state]}${took}`, current: runs ? 0 : 1, total: 1 });
  if (runs) task.status = title;
  task.print(`#${number} ${runs ? title : `${WORDS[state].toUpperCase()}${took}`}`);
}

/** Built-in images come from the daemon, others from their registries. */
async function bring(api: Api, task: Task, wanted: ImagesWanted, always: boolean): Promise<void> {
  for (const { reference, platform } of wanted.images) {
    if (!always && (await provided(api, reference))) continue;
    task.say(`Pulling ${reference}`);
    await pull(api, task, reference, platform);
  }
}

async function provided(api: Api, reference: string): Promise<boolean> {
  try {
    await api.builds.provideImage({ reference });
    return true;
  } catch (error) {
    if (failureOf(error).code === ErrorCode.NOT_FOUND) return false;
    throw error;
  }
}

/** A large listing is told in parts. */
function tell(answers: Answers, encoded: Uint8Array): void {
  const { folders } = fromBinary(ContextListingSchema, encoded);
  const pieces: Pick<ContextFolder, "path" | "entries">[] = folders.flatMap(({ path, entries }) =>
    Array.from({ length: Math.max(1, Math.ceil(entries.length / ENTRIES)) }, (_, part) => ({
      path,
      entries: entries.slice(part * ENTRIES, (part + 1) * ENTRIES),
    })),
  );
  let batch: typeof pieces = [];
  let size = 0;
  const flush = (more: boolean) => {
    answers.say({ case: "listing", value: create(ContextListingSchema, { folders: batch, more }) });
    batch = [];
    size = 0;
  };
  for (const piece of pieces) {
    if (size > 0 && size + piece.entries.length > ENTRIES) flush(true);
    batch.push(piece);
    size += piece.entries.length;
  }
  flush(false);
}

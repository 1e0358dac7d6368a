// A shell in a container: what is typed goes in, what it says comes out.
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ExecRequestSchema } from "../../gen/linkspan/v1/container_pb.js";
import type { Api } from "../api.js";

export interface Size {
  rows: number;
  columns: number;
}

type Request = MessageInitShape<typeof ExecRequestSchema>;

/** The container's own shell: bash where there is one. */
const SHELL = ["/bin/sh", "-c", "command -v bash >/dev/null && exec bash || exec sh"];

export class Session {
  #api: Api;
  #waiting: Request[];
  #wake: (() => void) | undefined;
  #abort = new AbortController();
  #text = new TextEncoder();

  constructor(api: Api, container: string, size: Size) {
    this.#api = api;
    const env = ["TERM=xterm-256color"];
    const open = { container, args: SHELL, env, tty: true, stdin: true, size };
    this.#waiting = [{ kind: { case: "open", value: open } }];
  }

  /** Until it ends; answers its exit code. */
  async run(output: (bytes: Uint8Array) => void): Promise<number | undefined> {
    const { signal } = this.#abort;
    try {
      for await (const { kind } of this.#api.containers.exec(this.#requests(), { signal })) {
        if (kind.case === "stdout" || kind.case === "stderr") output(kind.value);
        if (kind.case === "exited") return kind.value.exitCode;
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      this.close();
    }
    return undefined;
  }

  type(text: string): void {
    this.#input({ case: "stdin", value: this.#text.encode(text) });
  }

  resize(size: Size): void {
    this.#input({ case: "resize", value: size });
  }

  close(): void {
    this.#abort.abort();
    this.#wake?.();
  }

  #input(
    kind: { case: "stdin"; value: Uint8Array<ArrayBuffer> } | { case: "resize"; value: Size },
  ): void {
    this.#waiting.push({ kind: { case: "input", value: { kind } } });
    this.#wake?.();
  }

  async *#requests(): AsyncGenerator<Request> {
    while (!this.#abort.signal.aborted) {
      const next = this.#waiting.shift();
      if (next) yield next;
      else await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}

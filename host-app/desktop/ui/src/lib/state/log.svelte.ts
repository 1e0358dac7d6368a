// A container's log as the window needs it: lines of text, the last of them kept.
import { LogStream } from "../../gen/linkspan/v1/container_pb.js";
import type { Api } from "../api.js";
import { failureOf } from "../failure.js";
import type { Failure } from "../failure.js";

export interface Line {
  /** Counts up; the first of a container's log that was read is 0. */
  number: number;
  unixNanos: bigint;
  stderr: boolean;
  /** Without its line end, with its escape sequences. */
  text: string;
}

/** More than this are not kept: a window is for looking, the whole log is `linkspan logs`. */
export const KEPT = 100_000;
/** Dropped at once, so that not every line moves all others. */
const SLACK = 10_000;
/** Lines come in at any rate, and are shown at that of the screen. */
const FRAME = 16;

export class LogStore {
  /** The same array, longer: `version` says that it changed. */
  lines: Line[] = [];
  version = $state(0);
  failure = $state.raw<Failure>();
  /** Lines that were there and are not kept. */
  dropped = $state(0);

  #api: Api;
  #container: string;
  #abort: AbortController | undefined;
  #decoder = new TextDecoder();
  #next = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(api: Api, container: string) {
    this.#api = api;
    this.#container = container;
  }

  /** Until the container ends. Called again it goes on where it was. */
  async follow(): Promise<void> {
    const abort = new AbortController();
    this.#abort = abort;
    this.failure = undefined;
    const known = this.lines.at(-1)?.unixNanos ?? 0n;
    const request = {
      container: this.#container,
      follow: true,
      stdout: true,
      stderr: true,
      sinceUnixNanos: known,
      tail: BigInt(KEPT),
    };
    try {
      for await (const { records } of this.#api.containers.logs(request, {
        signal: abort.signal,
      })) {
        if (abort.signal.aborted) return;
        for (const { unixNanos, stream, line } of records) {
          if (unixNanos <= known) continue;
          const text = this.#decoder.decode(line).replace(/\r?\n$/, "");
          const stderr = stream === LogStream.STDERR;
          this.lines.push({ number: this.#next++, unixNanos, stderr, text });
        }
        if (this.lines.length > KEPT + SLACK) {
          this.dropped += this.lines.splice(0, this.lines.length - KEPT).length;
        }
        this.#soon();
      }
    } catch (error) {
      if (!abort.signal.aborted) this.failure = failureOf(error);
    }
  }

  close(): void {
    this.#abort?.abort();
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #soon(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.version += 1;
    }, FRAME);
  }
}

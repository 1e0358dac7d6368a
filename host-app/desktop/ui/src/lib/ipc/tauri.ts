// The pipe of the real shell: Tauri's commands, with bodies as raw bytes.
import { Channel, invoke } from "@tauri-apps/api/core";
import { PipeError } from "./pipe.js";
import type { Pipe, PipeStream } from "./pipe.js";

/** What the first byte of a channel's message says. */
const enum Tag {
  Message = 0,
  End = 1,
  Failed = 2,
}

/** Failed commands reject with the bytes of an ErrorInfo, as an array of numbers. */
export function refused(error: unknown): Error {
  if (Array.isArray(error)) return new PipeError(new Uint8Array(error as number[]));
  return error instanceof Error ? error : new Error(String(error));
}

/** So many messages are taken before the shell is told; half of what it lets wait here. */
const TAKEN = 32;

/** What has arrived and was not asked for yet, or who waits for it. */
class Inbox implements AsyncIterable<Uint8Array> {
  /** Called after every few messages that were taken. */
  taken: (count: number) => void = () => {};
  #count = 0;
  #arrived: Uint8Array[] = [];
  #end: { error?: Error } | undefined;
  #wake: (() => void) | undefined;

  push(message: ArrayBuffer): void {
    const bytes = new Uint8Array(message);
    const body = bytes.subarray(1);
    if (bytes[0] === Tag.Message) this.#arrived.push(body);
    else if (bytes[0] === Tag.End) this.end();
    else this.end(new PipeError(body));
    this.#wake?.();
  }

  end(error?: Error): void {
    this.#end ??= error ? { error } : {};
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    for (;;) {
      const next = this.#arrived.shift();
      if (next) {
        yield next;
        if (++this.#count % TAKEN === 0) this.taken(TAKEN);
      } else if (this.#end?.error) throw this.#end.error;
      else if (this.#end) return;
      else await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}

async function open(path: string, machine: string): Promise<PipeStream> {
  const inbox = new Inbox();
  const channel = new Channel<ArrayBuffer>((message) => inbox.push(message));
  const call = await invoke<number>("call_open", { path, machine, channel }).catch((error) => {
    throw refused(error);
  });
  const headers = { call: String(call) };
  inbox.taken = (count) => void invoke("call_more", { call, count });
  return {
    messages: inbox,
    async send(message) {
      await invoke("call_send", message, { headers });
    },
    async finish() {
      await invoke("call_finish", { call });
    },
    cancel() {
      inbox.end();
      // A call that has ended is not there any more, and that is what was wanted.
      void invoke("call_cancel", { call }).catch(() => {});
    },
  };
}

export const tauriPipe: Pipe = {
  async unary(path, machine, message) {
    try {
      const answer = await invoke<ArrayBuffer>("call_unary", message, {
        headers: { path, machine },
      });
      return new Uint8Array(answer);
    } catch (error) {
      throw refused(error);
    }
  },
  open,
};

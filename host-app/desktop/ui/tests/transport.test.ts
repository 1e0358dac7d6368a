import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { CopyOutRequestSchema, ListFolderResponseSchema } from "../src/gen/linkspan/v1/files_pb.js";
import { ErrorCode, ErrorInfoSchema } from "../src/gen/linkspan/v1/error_pb.js";
import { ContainerLogsResponseSchema } from "../src/gen/linkspan/v1/container_pb.js";
import { api } from "../src/lib/api.js";
import { failureOf } from "../src/lib/failure.js";
import { PipeError } from "../src/lib/ipc/pipe.js";
import type { Pipe, PipeStream } from "../src/lib/ipc/pipe.js";
import { pipeTransport } from "../src/lib/ipc/transport.js";

/** A call that says nothing until it is ended. */
class Call implements PipeStream {
  sent: Uint8Array[] = [];
  cancelled = false;
  finished = false;
  readonly messages: AsyncIterable<Uint8Array>;
  #end: () => void = () => {};

  constructor(answers: Uint8Array[], error?: Error) {
    const ended = new Promise<void>((resolve) => (this.#end = resolve));
    this.messages = (async function* () {
      yield* answers;
      if (error) throw error;
      await ended;
    })();
  }

  send(message: Uint8Array): Promise<void> {
    this.sent.push(message);
    return Promise.resolve();
  }
  finish(): Promise<void> {
    this.finished = true;
    return Promise.resolve();
  }
  cancel(): void {
    this.cancelled = true;
    this.#end();
  }
}

function pipe(parts: Partial<Pipe>): Pipe {
  const unexpected = () => Promise.reject(new Error("this call was not expected"));
  return { unary: unexpected, open: unexpected, ...parts };
}

const REFUSED = new PipeError(
  toBinary(
    ErrorInfoSchema,
    create(ErrorInfoSchema, {
      code: ErrorCode.NOT_FOUND,
      message: "no such container: x",
      hint: "`linkspan ps -a` lists them",
      evidence: ["last line"],
    }),
  ),
);

test("a call carries the contract's bytes under gRPC's path", async () => {
  const calls: string[] = [];
  const client = api(
    pipeTransport(
      pipe({
        unary: (path, machine) => {
          calls.push(`${machine} ${path}`);
          const entries = [{ name: "etc" }];
          return Promise.resolve(
            toBinary(ListFolderResponseSchema, create(ListFolderResponseSchema, { entries })),
          );
        },
      }),
      "work",
    ),
  );
  const { entries } = await client.files.list({ container: "x", path: "/" });
  expect(entries[0]?.name).toBe("etc");
  expect(calls).toEqual(["work /linkspan.v1.FileService/List"]);
});

test("a refusal keeps code, message, hint and evidence", async () => {
  const client = api(pipeTransport(pipe({ unary: () => Promise.reject(REFUSED) })));
  const error: unknown = await client.files.list({ container: "x" }).catch((error) => error);
  expect(ConnectError.from(error).code).toBe(Code.NotFound);
  expect(failureOf(error)).toEqual({
    code: ErrorCode.NOT_FOUND,
    message: "no such container: x",
    hint: "`linkspan ps -a` lists them",
    evidence: ["last line"],
  });
  // As the shell's own commands fail, beside any call.
  expect(failureOf(REFUSED).hint).toBe("`linkspan ps -a` lists them");
});

test("a call that may be broken off is broken off in the daemon, too", async () => {
  const call = new Call([]);
  const client = api(pipeTransport(pipe({ open: () => Promise.resolve(call) })));
  const abort = new AbortController();
  const copied = client.files.copyOut({ container: "x", path: "/a" }, { signal: abort.signal });
  copied.catch(() => {});
  await expect.poll(() => call.finished).toBe(true);
  expect(fromBinary(CopyOutRequestSchema, call.sent[0]!).path).toBe("/a");
  abort.abort();
  await expect(copied).rejects.toThrow();
  expect(call.cancelled).toBe(true);
});

test("a call that may be broken off fails with the daemon's words", async () => {
  const call = new Call([], REFUSED);
  const client = api(pipeTransport(pipe({ open: () => Promise.resolve(call) })));
  const { signal } = new AbortController();
  const error: unknown = await client.files.copyOut({}, { signal }).catch((error) => error);
  expect(failureOf(error).message).toBe("no such container: x");
});

test("a stream that is broken off ends its call, and not as if it had all been said", async () => {
  const records = create(ContainerLogsResponseSchema, { lostFiles: 3n });
  const call = new Call([toBinary(ContainerLogsResponseSchema, records)]);
  const client = api(pipeTransport(pipe({ open: () => Promise.resolve(call) })));
  const abort = new AbortController();
  const { signal } = abort;
  const read = async () => {
    for await (const { lostFiles } of client.containers.logs({ container: "x" }, { signal })) {
      expect(lostFiles).toBe(3n);
      abort.abort();
    }
  };
  // And says so: who reads would take it for the end.
  await expect(read()).rejects.toThrow();
  expect(call.cancelled).toBe(true);
});

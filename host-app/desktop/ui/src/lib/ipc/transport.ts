// Connect's transport over the shell's pipe: what turns the contract's services into typed clients.
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { DescMessage, DescMethodStreaming, DescMethodUnary } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import type { StreamResponse, Transport, UnaryResponse } from "@connectrpc/connect";
import { ErrorCode, ErrorInfoSchema } from "../../gen/linkspan/v1/error_pb.js";
import { PipeError } from "./pipe.js";
import type { Pipe, PipeStream } from "./pipe.js";

/** As the table in `proto/src/error.rs`. */
const CODES: Partial<Record<ErrorCode, Code>> = {
  [ErrorCode.INVALID_ARGUMENT]: Code.InvalidArgument,
  [ErrorCode.NOT_FOUND]: Code.NotFound,
  [ErrorCode.NAME_CONFLICT]: Code.AlreadyExists,
  [ErrorCode.WRONG_STATE]: Code.FailedPrecondition,
  [ErrorCode.IN_USE]: Code.FailedPrecondition,
  [ErrorCode.UNSUPPORTED]: Code.Unimplemented,
  [ErrorCode.UNAVAILABLE]: Code.Unavailable,
  [ErrorCode.TIMED_OUT]: Code.DeadlineExceeded,
  [ErrorCode.NO_SPACE]: Code.ResourceExhausted,
  [ErrorCode.PERMISSION_DENIED]: Code.PermissionDenied,
  [ErrorCode.CANCELLED]: Code.Canceled,
};

function asConnectError(error: unknown): ConnectError {
  if (!(error instanceof PipeError)) return ConnectError.from(error);
  const info = fromBinary(ErrorInfoSchema, error.errorInfo);
  const details = [{ desc: ErrorInfoSchema, value: info }];
  return new ConnectError(info.message, CODES[info.code] ?? Code.Unknown, undefined, details);
}

function path(method: DescMethodUnary | DescMethodStreaming): string {
  return `/${method.parent.typeName}/${method.name}`;
}

/** Calls for `machine`; empty: the default one. */
export function pipeTransport(pipe: Pipe, machine = ""): Transport {
  return {
    async unary<I extends DescMessage, O extends DescMessage>(
      method: DescMethodUnary<I, O>,
      signal: AbortSignal | undefined,
      _timeout: number | undefined,
      _header: HeadersInit | undefined,
      input: Parameters<typeof create<I>>[1],
    ): Promise<UnaryResponse<I, O>> {
      signal?.throwIfAborted();
      const request = toBinary(method.input, create(method.input, input));
      try {
        // What may be broken off is a stream of one message each way, which is the same to gRPC.
        const answer = signal
          ? await breakable(await pipe.open(path(method), machine), request, signal)
          : await pipe.unary(path(method), machine, request);
        return {
          service: method.parent,
          method,
          stream: false,
          header: new Headers(),
          trailer: new Headers(),
          message: fromBinary(method.output, answer),
        };
      } catch (error) {
        throw asConnectError(error);
      }
    },

    async stream<I extends DescMessage, O extends DescMessage>(
      method: DescMethodStreaming<I, O>,
      signal: AbortSignal | undefined,
      _timeout: number | undefined,
      _header: HeadersInit | undefined,
      input: AsyncIterable<Parameters<typeof create<I>>[1]>,
    ): Promise<StreamResponse<I, O>> {
      signal?.throwIfAborted();
      const stream = await pipe.open(path(method), machine).catch((error: unknown) => {
        throw asConnectError(error);
      });
      signal?.addEventListener("abort", () => stream.cancel(), { once: true });
      void feed(stream, method.input, input);
      return {
        service: method.parent,
        method,
        stream: true,
        header: new Headers(),
        trailer: new Headers(),
        message: decode(stream, method.output, signal),
      };
    },
  };
}

async function breakable(
  stream: PipeStream,
  request: Uint8Array,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const abort = () => stream.cancel();
  signal.addEventListener("abort", abort, { once: true });
  if (signal.aborted) abort();
  try {
    // A call that has ended before it was asked tells why by its messages.
    stream
      .send(request)
      .then(() => stream.finish())
      .catch(() => {});
    for await (const message of stream.messages) return message;
    signal.throwIfAborted();
    throw new ConnectError("the call ended without an answer", Code.Internal);
  } finally {
    signal.removeEventListener("abort", abort);
    stream.cancel();
  }
}

async function feed<I extends DescMessage>(
  stream: PipeStream,
  schema: I,
  input: AsyncIterable<Parameters<typeof create<I>>[1]>,
): Promise<void> {
  try {
    for await (const message of input) {
      await stream.send(toBinary(schema, create(schema, message)));
    }
    await stream.finish();
  } catch {
    // The call's own end says why.
    stream.cancel();
  }
}

async function* decode<O extends DescMessage>(
  stream: PipeStream,
  schema: O,
  signal: AbortSignal | undefined,
) {
  try {
    for await (const bytes of stream.messages) yield fromBinary(schema, bytes);
    // The pipe is silent about what was broken off; to who reads, it is not the end.
    signal?.throwIfAborted();
  } catch (error) {
    throw asConnectError(error);
  } finally {
    stream.cancel();
  }
}

// What the shell offers: calls of the daemon as bytes. The shell knows no message; what the bytes
// mean is known here, from the contract.

/** One call with any number of messages each way. */
export interface PipeStream {
  /** Resolves when the message is on its way; the daemon's slowness is felt here. */
  send(message: Uint8Array): Promise<void>;
  /** No more messages from here. */
  finish(): Promise<void>;
  /** The daemon's, in order. Ends with the call; throws what the call failed with. */
  readonly messages: AsyncIterable<Uint8Array>;
  /** Breaks the call off. Once it has ended: nothing. */
  cancel(): void;
}

/** Failures cross as an encoded `linkspan.v1.ErrorInfo`. */
export class PipeError extends Error {
  constructor(readonly errorInfo: Uint8Array) {
    super("a call of the daemon failed");
  }
}

export interface Pipe {
  /** `path` as gRPC names it: `/package.Service/Method`. Rejects with a PipeError. */
  unary(path: string, machine: string, message: Uint8Array): Promise<Uint8Array>;
  open(path: string, machine: string): Promise<PipeStream>;
}

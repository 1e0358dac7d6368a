// What went wrong, in the words of whoever knows: message, hint, evidence.
import { fromBinary } from "@bufbuild/protobuf";
import { ConnectError } from "@connectrpc/connect";
import { ErrorCode, ErrorInfoSchema } from "../gen/linkspan/v1/error_pb.js";
import { PipeError } from "./ipc/pipe.js";

export interface Failure {
  code: ErrorCode;
  message: string;
  hint: string;
  evidence: string[];
}

export function failureOf(error: unknown): Failure {
  const connect = ConnectError.from(error);
  const info =
    error instanceof PipeError
      ? fromBinary(ErrorInfoSchema, error.errorInfo)
      : connect.findDetails(ErrorInfoSchema)[0];
  if (info) {
    const { code, message, hint, evidence } = info;
    return { code, message, hint, evidence };
  }
  return { code: ErrorCode.INTERNAL, message: connect.rawMessage, hint: "", evidence: [] };
}

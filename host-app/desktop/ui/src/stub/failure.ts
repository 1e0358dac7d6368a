// Failures as the daemon tells them.
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { ErrorCode, ErrorInfoSchema } from "../gen/linkspan/v1/error_pb.js";

export function failure(code: ErrorCode, message: string, hint = ""): ConnectError {
  const value = create(ErrorInfoSchema, { code, message, hint });
  return new ConnectError(message, Code.Unknown, undefined, [{ desc: ErrorInfoSchema, value }]);
}

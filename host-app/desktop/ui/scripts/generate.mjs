// Writes src/gen: the contract's messages and services as TypeScript.
//
// The Rust side compiles the contract without `protoc`, and keeps what it compiled as
// `proto/baseline/linkspan.bin` (a FileDescriptorSet; a test there keeps it up to date). The same
// bytes go to protoc-gen-es here, so nothing of the contract is written twice.
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  CodeGeneratorRequestSchema,
  CodeGeneratorResponseSchema,
  FileDescriptorSetSchema,
} from "@bufbuild/protobuf/wkt";

const here = dirname(fileURLToPath(import.meta.url));
const out = join(here, "../src/gen");
const descriptors = readFileSync(join(here, "../../../../proto/baseline/linkspan.bin"));
const { file } = fromBinary(FileDescriptorSetSchema, descriptors);
const request = create(CodeGeneratorRequestSchema, {
  fileToGenerate: file.map((each) => each.name),
  parameter: "target=ts,import_extension=js",
  protoFile: file,
});
const plugin = join(here, "../node_modules/@bufbuild/protoc-gen-es/bin/protoc-gen-es");
const run = spawnSync(process.execPath, [plugin], {
  input: toBinary(CodeGeneratorRequestSchema, request),
  maxBuffer: 1 << 28,
});
if (run.status !== 0) throw new Error(`protoc-gen-es failed: ${run.stderr}`);
const response = fromBinary(CodeGeneratorResponseSchema, run.stdout);
if (response.error) throw new Error(response.error);
rmSync(out, { recursive: true, force: true });
for (const { name, content } of response.file) {
  const path = join(out, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
}
console.log(`${response.file.length} files of the contract written`);

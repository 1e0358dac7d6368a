import { create } from "@bufbuild/protobuf";
import { afterEach, expect, test } from "vitest";
import { MachineSchema, MachineState } from "../src/gen/linkspan/host/v1/machine_pb.js";
import { recall, remember } from "../src/lib/state/remembered.js";

afterEach(() => localStorage.clear());

test("what was remembered is there at the next start", () => {
  remember(MachineSchema, create(MachineSchema, { name: "default", state: MachineState.RUNNING }));
  expect(recall(MachineSchema)?.state).toBe(MachineState.RUNNING);
});

test("what another version or nobody wrote is no reason to fail", () => {
  expect(recall(MachineSchema)).toBeUndefined();
  localStorage.setItem(MachineSchema.typeName, '{"name": "default", "notKnownYet": true}');
  expect(recall(MachineSchema)?.name).toBe("default");
  for (const text of ["", "text", "[]", '{"state": 17.5}']) {
    localStorage.setItem(MachineSchema.typeName, text);
    expect(recall(MachineSchema)).toBeUndefined();
  }
});

test("what takes too long to read is not remembered, nor what it replaces", () => {
  remember(MachineSchema, create(MachineSchema, { name: "default" }));
  remember(MachineSchema, create(MachineSchema, { directory: "x".repeat(500_000) }));
  expect(recall(MachineSchema)).toBeUndefined();
});

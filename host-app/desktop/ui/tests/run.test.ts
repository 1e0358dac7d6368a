import { spawnSync } from "node:child_process";
import { expect, test } from "vitest";
import { MountType } from "../src/gen/linkspan/v1/mount_pb.js";
import { commandLine, emptyRun, fault, quote, request, words } from "../src/lib/run.js";

const AWKWARD = [
  "plain",
  "",
  "two words",
  "it's",
  '"double"',
  "$HOME `id` $(id)",
  "back\\slash",
  "new\nline",
  "*?[a]~!#&;|<>(){}",
  "-flag=value",
  "ünïcode 🙂",
];

test("what is quoted comes out of a shell as it was", () => {
  const script = `printf '%s\\0' ${AWKWARD.map((word) => quote(word)).join(" ")}`;
  const { stdout } = spawnSync("/bin/sh", ["-c", script], { encoding: "utf8" });
  expect(stdout.split("\0").slice(0, -1)).toEqual(AWKWARD);
});

test("a line is split as a shell splits it", () => {
  for (const word of AWKWARD) expect(words(quote(word))).toEqual([word]);
  expect(words(`sh -c "echo \\"a b\\" \\x" 'c d'e  f\\ g ''`)).toEqual([
    "sh",
    "-c",
    'echo "a b" \\x',
    "c de",
    "f g",
    "",
  ]);
  expect(() => words("echo 'open")).toThrow("not closed");
});

test("PowerShell gets its own quotes", () => {
  expect(quote("it's", "windows")).toBe("'it''s'");
  expect(quote("C:/a/b", "windows")).toBe("C:/a/b");
});

test("the command line and the request say the same", () => {
  const run = {
    ...emptyRun("nginx:1.29"),
    name: "web",
    command: "nginx -g 'daemon off;'",
    ports: [
      { host: "8080", container: "80", udp: false },
      { host: "", container: "53", udp: true },
    ],
    mounts: [
      { source: "data", target: "/data", readOnly: false },
      { source: "/home/me/my site", target: "/srv", readOnly: true },
    ],
    env: "A=1\n\n B=two words ",
    network: "backend",
    restart: "always",
    memory: 512,
    cpus: 0.5,
  };
  expect(fault(run)).toBeUndefined();
  expect(commandLine(run)).toBe(
    "linkspan run -d --name web -p 8080:80 -p 53/udp -v data:/data -v '/home/me/my site:/srv:ro' " +
      "-e A=1 -e 'B=two words' --network backend --restart always -m 512m --cpus 0.5 " +
      "nginx:1.29 nginx -g 'daemon off;'",
  );
  const { config } = request(run);
  expect(config?.command).toEqual(["nginx", "-g", "daemon off;"]);
  expect(config?.env).toEqual(["A=1", "B=two words"]);
  expect(config?.resources?.memoryBytes).toBe(536_870_912n);
  expect(config?.resources?.nanoCpus).toBe(500_000_000n);
  expect(config?.mounts?.map(({ type }) => type)).toEqual([MountType.VOLUME, MountType.BIND]);
  expect(config?.ports?.map(({ hostPort }) => hostPort)).toEqual([8080, 0]);
});

test("what cannot be is said before anybody is asked", () => {
  const run = emptyRun("busybox");
  expect(fault(emptyRun())).toContain("image");
  expect(fault({ ...run, ports: [{ host: "", container: "70000", udp: false }] })).toContain(
    "70000",
  );
  expect(fault({ ...run, ports: [{ host: "x", container: "1", udp: false }] })).toContain("`x`");
  expect(fault({ ...run, mounts: [{ source: "", target: "data", readOnly: false }] })).toContain(
    "`data`",
  );
  expect(fault({ ...run, ports: [{ host: "80", container: "", udp: false }] })).toContain("needs");
  expect(fault({ ...run, mounts: [{ source: "a", target: "", readOnly: false }] })).toContain(
    "needs",
  );
  expect(fault({ ...run, env: "NOVALUE" })).toContain("NOVALUE");
  expect(fault({ ...run, remove: true, restart: "always" })).toContain("restarted");
  expect(fault({ ...run, command: "echo 'x" })).toContain("closed");
});

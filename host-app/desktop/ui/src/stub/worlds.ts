// Worlds by name, each in a state that a page has to be right in.
import { MachineState, PhaseState } from "../gen/linkspan/host/v1/machine_pb.js";
import { ContainerState } from "../gen/linkspan/v1/container_pb.js";
import { ErrorCode, ErrorInfoSchema } from "../gen/linkspan/v1/error_pb.js";
import { MountType } from "../gen/linkspan/v1/mount_pb.js";
import { create } from "@bufbuild/protobuf";
import { World } from "./world.js";

const SECOND = 1_000_000_000n;

function ago(seconds: number): bigint {
  return BigInt(Math.floor(Date.now() / 1000) - seconds) * SECOND;
}

/** A small project, a finished job, and what they are made of. */
function busy(world: World): void {
  world.runs();
  world.fills();
  const { goods } = world;
  const nginx = goods.image("nginx:1.29", [74_800_000, 39_200_000, 4800], 1);
  const busybox = goods.image("busybox:latest", [2_100_000], 1);
  const shop = goods.image("shop:dev", [74_800_000, 21_300_000], 3);
  goods.image("", [74_800_000, 20_900_000]);
  goods.image("linkspan/hello:latest", [612_000]);
  goods.volume("shop_database");
  goods.volume("9f2b".repeat(16), { "com.docker.volume.anonymous": "" });
  goods.network("shop_default");
  goods.network("vault", true, true);
  const web = world.add({
    name: "web",
    image: "nginx:1.29",
    imageId: nginx.id,
    command: ["/docker-entrypoint.sh", "nginx", "-g", "daemon off;"],
    health: "healthy",
    createdUnixNanos: ago(5400),
    startedUnixNanos: ago(5400),
    ports: [{ hostIp: "127.0.0.1", hostPort: 8080, containerPort: 80 }],
  });
  world.add({
    name: "nightly-import",
    image: "busybox",
    imageId: busybox.id,
    state: ContainerState.EXITED,
    exitCode: 3,
    createdUnixNanos: ago(41_000),
  });
  for (const [at, name] of ["shop-web-1", "shop-db-1", "shop-cache-1"].entries()) {
    world.add({
      name,
      image: "shop:dev",
      imageId: shop.id,
      createdUnixNanos: ago(900 + at),
      networks: ["shop_default"],
      labels: { "com.docker.compose.project": "shop" },
      ...(name === "shop-web-1" && {
        health: "unhealthy",
        ports: [{ hostIp: "127.0.0.1", hostPort: 3000, containerPort: 3000 }],
      }),
      ...(name === "shop-cache-1" && { state: ContainerState.PAUSED }),
      ...(name === "shop-db-1" && {
        mounts: [
          {
            type: MountType.VOLUME,
            name: "shop_database",
            source: "/data/volumes/shop_database/_data",
            target: "/var/lib/postgresql",
            readWrite: true,
          },
        ],
      }),
    });
  }
  world.say(
    web.id,
    Array.from(
      { length: 240 },
      (_, at) =>
        `172.18.0.1 "\x1b[32mGET\x1b[0m /item/${at} HTTP/1.1" ${at % 41 === 7 ? "\x1b[31m502\x1b[0m" : "200"} ${(at * 37) % 900} ${(at * 7) % 97} ms`,
    ),
  );
}

const WORLDS: Record<string, (world: World) => void> = {
  busy,
  /** Pulls and builds take their time in it. */
  slow: (world) => {
    busy(world);
    world.goods.stepMs = 700;
    world.goods.buildOutput = Array.from({ length: 200 }, (_, at) => `step ${at}`);
  },
  empty: (world) => world.runs(),
  stopped: () => {},
  starting: (world) => {
    world.runs();
    const { phases } = world.machine;
    world.machineBecomes({
      state: MachineState.STARTING,
      phases: phases.map((phase, at) => ({
        ...phase,
        state: at < 3 ? PhaseState.DONE : at === 3 ? PhaseState.RUNNING : PhaseState.PENDING,
        durationUs: at < 3 ? phase.durationUs : 0n,
      })),
    });
  },
  failed: (world) => {
    world.runs();
    const { phases } = world.machine;
    world.machineBecomes({
      state: MachineState.FAILED,
      phases: phases.map((phase, at) => ({
        ...phase,
        state: at < 3 ? PhaseState.DONE : at === 3 ? PhaseState.FAILED : PhaseState.PENDING,
      })),
      failure: create(ErrorInfoSchema, {
        code: ErrorCode.DATA_CORRUPT,
        message: "the data disk cannot be mounted: its file system is damaged",
        hint: "`linkspan machine doctor` checks it and says what can be saved",
        evidence: [
          "[    1.204113] EXT4-fs (vda): bad geometry",
          "linkspan-agent: disk: cannot mount /dev/vda: structure needs cleaning",
        ],
      }),
    });
  },
  /** This host's disk is full. */
  halted: (world) => {
    busy(world);
    world.machineBecomes({ halted: "this host has no room left for the machine's disk" });
  },
  /** Its VM is there and does not answer. */
  stranded: (world) => {
    world.runs();
    world.machineBecomes({
      state: MachineState.FAILED,
      vmmPid: 4711,
      failure: create(ErrorInfoSchema, {
        code: ErrorCode.TIMED_OUT,
        message: "the agent of machine `default` did not answer within 20 s",
        hint: "end it with `linkspan machine stop --force default`",
      }),
    });
  },
  absent: (world) => {
    world.presence = {
      kind: "absent",
      message: "no daemon answers at /Users/me/.linkspan/daemon.sock",
      hint: "",
    };
  },
  other: (world) => {
    world.presence = {
      kind: "other",
      message:
        "the daemon is version 0.3.0 and speaks protocol 2; this window is 0.1.0 and speaks 1",
      hint: "restart the daemon: `linkspan daemon restart`",
    };
  },
  crowd: (world) => {
    world.runs();
    world.crowd(1000);
  },
  chatter: (world) => {
    world.runs();
    const { id } = world.add({ name: "chatter" });
    world.say(
      id,
      Array.from({ length: 100_000 }, (_, at) => `\x1b[36mline\x1b[0m ${at} of a long log`),
    );
  },
};

export function invented(name: string): World {
  const world = new World();
  const fill = WORLDS[name];
  if (!fill) throw new Error(`no such world: ${name}; there are ${Object.keys(WORLDS).join(", ")}`);
  fill(world);
  return world;
}

// Images, volumes, networks, the registry and builds of the invented world.
import { create, toBinary } from "@bufbuild/protobuf";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ConnectRouter } from "@connectrpc/connect";
import {
  BuildService,
  BuildStepState,
  ContextEntryKind,
  ContextListingSchema,
} from "../gen/linkspan/v1/build_pb.js";
import type { BuildRequest, BuildResponseSchema } from "../gen/linkspan/v1/build_pb.js";
import type { ContainerSummary } from "../gen/linkspan/v1/container_pb.js";
import { ErrorCode } from "../gen/linkspan/v1/error_pb.js";
import {
  ImageDetailSchema,
  ImageService,
  ImageSummarySchema,
} from "../gen/linkspan/v1/image_pb.js";
import type { ImageSummary } from "../gen/linkspan/v1/image_pb.js";
import {
  NetworkEndpointSchema,
  NetworkSchema,
  NetworkService,
} from "../gen/linkspan/v1/network_pb.js";
import type { Network } from "../gen/linkspan/v1/network_pb.js";
import { RegistryService } from "../gen/linkspan/v1/registry_pb.js";
import { SystemService } from "../gen/linkspan/v1/system_pb.js";
import { VolumeSchema, VolumeService } from "../gen/linkspan/v1/volume_pb.js";
import type { Volume } from "../gen/linkspan/v1/volume_pb.js";
import { pause } from "./answers.js";
import { failure } from "./failure.js";

const WHEN = 1_790_000_000_000_000_000n;

/** What the rest of the world does for them. */
export interface Rest {
  asked(what: string, whom: string): void;
  changed(): void;
  containers(): ContainerSummary[];
  uses(container: string, network: string, on: boolean): void;
}

export class Goods {
  images: ImageSummary[] = [];
  volumes: Volume[] = [];
  networks: Network[] = [];
  /** Between two words of a transfer or a build. */
  stepMs = 0;
  /** What a build's step writes. */
  buildOutput = ["checking", "all well"];

  #rest: Rest;

  constructor(rest: Rest) {
    this.#rest = rest;
    for (const name of ["bridge", "host", "none"]) this.network(name, name === "bridge");
  }

  image(tag: string, layers: number[], containers = 0): ImageSummary {
    const number = this.images.length + 1;
    const digest = `${number}7c9e`.repeat(20).slice(0, 64);
    const made = create(ImageSummarySchema, {
      id: `sha256:${digest}`,
      tags: tag === "" ? [] : [tag],
      createdUnixNanos: WHEN,
      sizeBytes: BigInt(layers.reduce((sum, layer) => sum + layer, 0)),
      layerBytes: layers.map(BigInt),
      containers,
    });
    this.images = [...this.images, made];
    this.#rest.changed();
    return made;
  }

  volume(name: string, labels: Record<string, string> = {}): Volume {
    const made = create(VolumeSchema, {
      name,
      driver: "local",
      mountpoint: `/data/volumes/${name}/_data`,
      createdUnixNanos: WHEN,
      labels,
    });
    this.volumes = [...this.volumes, made];
    this.#rest.changed();
    return made;
  }

  network(name: string, pooled = true, internal = false): Network {
    const number = this.networks.length;
    const subnet = `172.${17 + number}.0.0/16`;
    const pools = pooled ? [{ subnet, gateway: `172.${17 + number}.0.1` }] : [];
    const driver = ["host", "none"].includes(name) ? name : "bridge";
    const made = create(NetworkSchema, {
      id: `${number}b4d`.repeat(30).slice(0, 64),
      spec: { name, driver: driver === "none" ? "null" : driver, pools, internal },
      createdUnixNanos: WHEN,
    });
    this.networks = [...this.networks, made];
    this.#rest.changed();
    return made;
  }

  /** As the engine refuses a container without its image. */
  mustHave(reference: string): void {
    const names = [reference, `${reference}:latest`];
    const here = this.images.some(({ id, tags }) =>
      [id, ...tags].some((tag) => names.includes(tag)),
    );
    if (!here) throw failure(ErrorCode.NOT_FOUND, `no such image: ${reference}`);
  }

  listing(folders: readonly string[]): Uint8Array {
    const entries = [{ name: "app", kind: ContextEntryKind.FILE, size: 1200n, mode: 0o755 }];
    const listed = folders.map((path) => ({ path, entries: path === "" ? entries : [] }));
    return toBinary(ContextListingSchema, create(ContextListingSchema, { folders: listed }));
  }

  serve(service: ConnectRouter["service"]): void {
    service(ImageService, {
      list: () => ({ images: this.images }),
      inspect: ({ image }) => ({ image: this.#detail(this.#image(image)) }),
      tag: ({ source, target }) => {
        this.#rest.asked("Tag", target);
        const found = this.#image(source);
        this.#replace({ ...found, tags: [...found.tags, target] });
        return {};
      },
      remove: ({ image }) => {
        const found = this.#image(image);
        this.#rest.asked("RemoveImage", found.tags[0] ?? image);
        this.images = this.images.filter(({ id }) => id !== found.id);
        this.#rest.changed();
        return { untagged: found.tags, deleted: [found.id] };
      },
      prune: ({ all }) => {
        this.#rest.asked("PruneImages", all ? "all" : "dangling");
        const gone = this.images.filter(
          ({ containers, tags }) => containers === 0 && (all || tags.length === 0),
        );
        this.images = this.images.filter((image) => !gone.includes(image));
        this.#rest.changed();
        const reclaimedBytes = gone.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0n);
        return { deleted: gone.map(({ id }) => id), reclaimedBytes };
      },
      load: (_, { signal }) => this.#load(signal),
    });
    service(RegistryService, {
      pull: ({ reference }, { signal }) => this.#pull(reference, signal),
      push: ({ reference }, { signal }) => this.#push(reference, signal),
    });
    service(BuildService, {
      build: (requests, { signal }) => this.#build(requests, signal),
      provideImage: ({ reference }) => {
        this.#rest.asked("ProvideImage", reference);
        return {};
      },
    });
    service(VolumeService, {
      list: () => ({ volumes: this.volumes }),
      create: ({ name, labels }) => {
        this.#rest.asked("CreateVolume", name);
        return { volume: this.volume(name || "4f1d".repeat(16), labels) };
      },
      remove: ({ name }) => {
        this.#rest.asked("RemoveVolume", name);
        this.volumes = this.volumes.filter((volume) => volume.name !== name);
        this.#rest.changed();
        return {};
      },
      prune: () => {
        this.#rest.asked("PruneVolumes", "");
        return { removed: [], reclaimedBytes: 0n };
      },
    });
    service(NetworkService, {
      list: () => ({ networks: this.networks.map((network) => this.#withMembers(network)) }),
      create: ({ spec }) => {
        this.#rest.asked("CreateNetwork", spec?.name ?? "");
        return { id: this.network(spec?.name ?? "", true, spec?.internal).id };
      },
      remove: ({ network }) => {
        this.#rest.asked("RemoveNetwork", network);
        this.networks = this.networks.filter(({ id }) => id !== network);
        this.#rest.changed();
        return { id: network };
      },
      prune: () => ({ names: [] }),
      connectContainer: ({ container, endpoint }) => {
        this.#rest.uses(container, this.#nameOf(endpoint?.network ?? ""), true);
        return {};
      },
      disconnectContainer: ({ container, network }) => {
        this.#rest.uses(container, this.#nameOf(network), false);
        return {};
      },
    });
    service(SystemService, {
      diskUsage: () => ({
        volumes: this.volumes.map((volume, at) => ({
          volume,
          sizeBytes: BigInt(48_000_000 * (at + 1)),
          references: 1,
        })),
      }),
    });
  }

  #nameOf(network: string): string {
    return this.networks.find(({ id }) => id === network)?.spec?.name ?? network;
  }

  #withMembers(network: Network): Network {
    const name = network.spec?.name ?? "";
    const members = this.#rest.containers().filter(({ networks }) => networks.includes(name));
    return {
      ...network,
      endpoints: members.map((member, at) =>
        create(NetworkEndpointSchema, {
          container: member.id,
          containerName: member.name,
          network: name,
          dnsNames: [member.name],
          ipv4Address: `172.17.0.${at + 2}/16`,
        }),
      ),
    };
  }

  #image(name: string): ImageSummary {
    const found = this.images.find(({ id, tags }) => id === name || tags.includes(name));
    if (!found) throw failure(ErrorCode.NOT_FOUND, `no such image: ${name}`);
    return found;
  }

  #replace(image: ImageSummary): void {
    this.images = this.images.map((each) => (each.id === image.id ? image : each));
    this.#rest.changed();
  }

  #detail(summary: ImageSummary) {
    return create(ImageDetailSchema, {
      summary,
      os: "linux",
      architecture: "arm64",
      command: ["nginx", "-g", "daemon off;"],
      entrypoint: ["/docker-entrypoint.sh"],
      exposedPorts: ["80/tcp"],
      env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin", "NGINX_VERSION=1.29.0"],
      history: [
        { createdBy: "/bin/sh -c #(nop) ADD file:a3f1 in / " },
        { createdBy: "ENV NGINX_VERSION=1.29.0", emptyLayer: true },
        { createdBy: "RUN /bin/sh -c set -x && apt-get install nginx # buildkit" },
        { createdBy: "COPY docker-entrypoint.sh / # buildkit" },
        { createdBy: "EXPOSE map[80/tcp:{}]", emptyLayer: true },
        { createdBy: 'CMD ["nginx" "-g" "daemon off;"]', emptyLayer: true },
      ],
    });
  }

  async *#pull(reference: string, signal: AbortSignal) {
    this.#rest.asked("Pull", reference);
    const layers = ["3f8a1c90b7d2", "91b0c4e7aa13", "c07d22e1f5b6"];
    const total = 48_000_000n;
    for (let part = 1n; part <= 4n; part++) {
      for (const [at, id] of layers.entries()) {
        const current = (total * part) / BigInt(4 + at);
        const status = current === total ? "Pull complete" : "Downloading";
        yield { kind: { case: "progress" as const, value: { id, status, current, total } } };
      }
      await pause(this.stepMs, signal);
      if (signal.aborted) return;
    }
    const tag = /[:@]/.test(reference) ? reference : `${reference}:latest`;
    const { id } = this.image(tag, [30_000_000, 12_000_000, 900_000]);
    yield { kind: { case: "pulled" as const, value: { id, reference: tag } } };
  }

  async *#push(reference: string, signal: AbortSignal) {
    this.#rest.asked("Push", reference);
    const id = "3f8a1c90b7d2";
    for (const current of [10n, 50n, 100n]) {
      yield {
        kind: { case: "progress" as const, value: { id, status: "Pushing", current, total: 100n } },
      };
      await pause(this.stepMs, signal);
    }
    yield { kind: { case: "pushed" as const, value: { tag: reference, digest: "sha256:1" } } };
  }

  async *#load(signal: AbortSignal) {
    yield { kind: { case: "progress" as const, value: { layer: "3f8a1c90b7d2", bytes: 900n } } };
    await pause(this.stepMs, signal);
    const { id } = this.image("loaded:1", [4_000_000]);
    yield { kind: { case: "loaded" as const, value: { id, tags: ["loaded:1"] } } };
  }

  /** Asks for all that a build can ask for, and makes an image. */
  async *#build(
    requests: AsyncIterable<BuildRequest>,
    signal: AbortSignal,
  ): AsyncGenerator<MessageInitShape<typeof BuildResponseSchema>> {
    const text = new TextEncoder();
    let tags: string[] = [];
    for await (const { kind } of requests) {
      if (kind.case === "open") {
        tags = kind.value.tags;
        this.#rest.asked("Build", tags[0] ?? "");
        yield { kind: { case: "imagesWanted", value: { images: [{ reference: "busybox" }] } } };
      } else if (kind.case === "imagesReady") {
        yield { kind: { case: "list", value: { folders: [""] } } };
      } else if (kind.case === "listing" && !kind.value.more) {
        yield { kind: { case: "filesWanted", value: { paths: ["app"], streamId: "1" } } };
        const step = (number: number, title: string, state: BuildStepState) => ({
          kind: {
            case: "step" as const,
            value: { number, title, state, durationUs: 412_000n },
          },
        });
        yield step(1, "[1/3] FROM busybox", BuildStepState.CACHED);
        yield step(2, "[2/3] COPY app /app", BuildStepState.DONE);
        yield step(3, "[3/3] RUN /app --check", BuildStepState.RUNNING);
        for (const line of this.buildOutput) {
          yield { kind: { case: "output", value: { number: 3, data: text.encode(`${line}\n`) } } };
          await pause(this.stepMs, signal);
          if (signal.aborted) return;
        }
        yield step(3, "[3/3] RUN /app --check", BuildStepState.DONE);
        const { id } = this.image(tags[0] ?? "", [30_000_000, 1200]);
        yield { kind: { case: "built", value: { id, tags } } };
        return;
      }
    }
  }
}

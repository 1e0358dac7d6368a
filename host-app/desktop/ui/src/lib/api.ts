// Typed clients of everything that the daemon serves.
import { createClient } from "@connectrpc/connect";
import type { Client, Transport } from "@connectrpc/connect";
import { HostService } from "../gen/linkspan/host/v1/host_pb.js";
import { MachineService } from "../gen/linkspan/host/v1/machine_pb.js";
import { AgentService } from "../gen/linkspan/v1/agent_pb.js";
import { BuildService } from "../gen/linkspan/v1/build_pb.js";
import { ContainerService } from "../gen/linkspan/v1/container_pb.js";
import { EventService } from "../gen/linkspan/v1/event_pb.js";
import { FileService } from "../gen/linkspan/v1/files_pb.js";
import { ImageService } from "../gen/linkspan/v1/image_pb.js";
import { NetworkService } from "../gen/linkspan/v1/network_pb.js";
import { RegistryService } from "../gen/linkspan/v1/registry_pb.js";
import { SystemService } from "../gen/linkspan/v1/system_pb.js";
import { VolumeService } from "../gen/linkspan/v1/volume_pb.js";

export interface Api {
  host: Client<typeof HostService>;
  machines: Client<typeof MachineService>;
  agent: Client<typeof AgentService>;
  builds: Client<typeof BuildService>;
  containers: Client<typeof ContainerService>;
  events: Client<typeof EventService>;
  files: Client<typeof FileService>;
  images: Client<typeof ImageService>;
  networks: Client<typeof NetworkService>;
  registry: Client<typeof RegistryService>;
  system: Client<typeof SystemService>;
  volumes: Client<typeof VolumeService>;
}

export function api(transport: Transport): Api {
  return {
    host: createClient(HostService, transport),
    machines: createClient(MachineService, transport),
    agent: createClient(AgentService, transport),
    builds: createClient(BuildService, transport),
    containers: createClient(ContainerService, transport),
    events: createClient(EventService, transport),
    files: createClient(FileService, transport),
    images: createClient(ImageService, transport),
    networks: createClient(NetworkService, transport),
    registry: createClient(RegistryService, transport),
    system: createClient(SystemService, transport),
    volumes: createClient(VolumeService, transport),
  };
}

//! Compiles the contract with `protox`, so that no `protoc` is needed to build.

use std::{env, fs, path::PathBuf};

use prost::Message as _;

const FILES: &[&str] = &[
    "linkspan/v1/agent.proto",
    "linkspan/v1/build.proto",
    "linkspan/v1/container.proto",
    "linkspan/v1/docker_api.proto",
    "linkspan/v1/error.proto",
    "linkspan/v1/event.proto",
    "linkspan/v1/files.proto",
    "linkspan/v1/folder.proto",
    "linkspan/v1/image.proto",
    "linkspan/v1/mount.proto",
    "linkspan/v1/network.proto",
    "linkspan/v1/port.proto",
    "linkspan/v1/registry.proto",
    "linkspan/v1/stdio.proto",
    "linkspan/v1/system.proto",
    "linkspan/v1/volume.proto",
    "linkspan/host/v1/host.proto",
    "linkspan/host/v1/machine.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let descriptors = protox::compile(FILES, ["."])?;
    fs::write(out.join("linkspan.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        // `bytes::Bytes` for payloads: a chunk of output is not copied to be decoded.
        .bytes(".linkspan.v1")
        .bytes(".linkspan.host.v1")
        // By hand, without the secrets: `src/registry.rs`.
        .skip_debug([".linkspan.v1.RegistryCredentials"])
        .compile_fds(descriptors)?;
    for file in FILES {
        println!("cargo::rerun-if-changed={file}");
    }
    Ok(())
}

//! The initramfs: the VM's root file system. It stays in memory while the VM runs, so it holds only
//! what the agent needs before and beside the data disk.

use std::collections::BTreeMap;

use anyhow::Result;
use clap::ValueEnum;

use crate::{
    cache::{CachedKernel, load},
    cpio::Writer,
    kernel::lz4_legacy,
};

/// How the archive is packed for the kernel to unpack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Packing {
    /// Not at all.
    None,
    /// Quick to unpack.
    Lz4,
    /// Small.
    Zstd,
}

/// What every kernel's initramfs holds, besides its modules.
pub(crate) struct Parts<'a> {
    pub(crate) agent: &'a [u8],
    pub(crate) init: &'a [u8],
    pub(crate) busybox: &'a [u8],
    /// Of other processors, by name. The agent enters them into the kernel's table.
    pub(crate) emulators: &'a BTreeMap<String, Vec<u8>>,
    pub(crate) template: &'a [u8],
    /// What the guest knows of how it was made: no hash of the initramfs itself, which cannot be.
    pub(crate) manifest: &'a [u8],
}

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n";
const GROUP: &str = "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n";
const HOSTS: &str = "127.0.0.1 localhost\n::1 localhost ip6-localhost\n";

/// Writes the archive of one kernel and packs it.
pub(crate) fn build(parts: &Parts<'_>, kernel: &CachedKernel, packing: Packing) -> Result<Vec<u8>> {
    let mut archive = Writer::new(Vec::new());
    for (folder, mode) in [
        ("bin", 0o755),
        ("dev", 0o755),
        ("etc", 0o755),
        ("lib", 0o755),
        ("lib/modules", 0o755),
        ("lib/modules/linkspan", 0o755),
        ("proc", 0o755),
        ("root", 0o700),
        ("run", 0o755),
        ("sbin", 0o755),
        ("sys", 0o755),
        ("tmp", 0o1777),
        ("usr", 0o755),
        ("usr/lib", 0o755),
        ("usr/lib/linkspan", 0o755),
        ("usr/lib/linkspan/emulators", 0o755),
        ("usr/share", 0o755),
        ("usr/share/linkspan", 0o755),
        ("var", 0o755),
        ("var/lib", 0o755),
        ("var/lib/linkspan", 0o755),
    ] {
        archive.directory(folder, mode)?;
    }
    // The kernel opens it as standard input and output of /init before anything is mounted.
    archive.character_device("dev/console", 0o600, (5, 1))?;
    archive.character_device("dev/null", 0o666, (1, 3))?;
    archive.file("etc/group", 0o644, GROUP.as_bytes())?;
    archive.file("etc/hosts", 0o644, HOSTS.as_bytes())?;
    archive.file("etc/passwd", 0o644, PASSWD.as_bytes())?;
    // The agent writes the name servers when it brings up the network.
    archive.file("etc/resolv.conf", 0o644, b"")?;
    archive.file("bin/busybox", 0o755, parts.busybox)?;
    archive.symlink("bin/sh", "busybox")?;
    archive.file("sbin/linkspan-init", 0o755, parts.init)?;
    archive.file("init", 0o755, parts.agent)?;
    for (name, program) in parts.emulators {
        archive.file(&format!("usr/lib/linkspan/emulators/{name}"), 0o755, program)?;
    }
    archive.file("usr/share/linkspan/data.ext4.tmpl", 0o644, parts.template)?;
    archive.file("usr/share/linkspan/manifest.json", 0o644, parts.manifest)?;
    let order: String = kernel.built.modules.iter().map(|name| format!("{name}\n")).collect();
    archive.file("lib/modules/linkspan/order", 0o644, order.as_bytes())?;
    for name in &kernel.built.modules {
        let content = load(&kernel.module(name))?;
        archive.file(&format!("lib/modules/linkspan/{name}"), 0o644, &content)?;
    }
    let mut archive = archive.finish()?;
    // Boot loaders and the kernel's own search for a next archive work in words.
    archive.resize(archive.len().next_multiple_of(512), 0);
    Ok(match packing {
        Packing::None => archive,
        Packing::Lz4 => lz4_legacy::compress(&archive)?,
        Packing::Zstd => zstd::bulk::compress(&archive, 19)?,
    })
}

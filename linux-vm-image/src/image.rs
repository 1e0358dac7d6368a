//! Puts the VM image together: `build` and `verify`.
//!
//! The folder is built beside its place and exchanged with the old one in one step, so that a
//! reader sees the old image or the new one. When nothing that goes in has changed, nothing is
//! done: `.inputs` in the folder has the hash of everything that went in.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::ValueEnum;
use linkspan_state::image::{ImageEntry, ImageSearch, KernelEntry, Manifest};
use sha2::{Digest as _, Sha256};

use crate::{
    apt, builtin,
    cache::{Cache, CachedKernel, load, sha256, store},
    initramfs::{self, Packing, Parts},
    kernel::{debian, lean},
    template,
};

/// What each kernel is told, whatever the machine.
///
/// - `panic=-1`: reboot at once after a panic, which `-no-reboot` turns into the end of the VM.
/// - `loglevel=4`: errors only; each line costs time on an emulated serial port.
/// - `tsc=reliable`: the hypervisor keeps the counters of the processors in step.
/// - `cryptomgr.notests`: the ciphers were tested when the kernel was built.
/// - `random.trust_cpu=on`: no wait for entropy at the first start of a machine.
pub(crate) const CMDLINE: &str =
    "console=ttyS0 loglevel=4 panic=-1 tsc=reliable cryptomgr.notests random.trust_cpu=on";

/// When everything in the image was "made": fixed, else no two builds would be the same.
/// 2026-01-01 00:00:00 UTC; `SOURCE_DATE_EPOCH` overrides it.
const EPOCH: u64 = 1_767_225_600;

/// The sources of this program: a new builder makes a new image.
const RECIPE: &[&str] = &[
    include_str!("apt.rs"),
    include_str!("builtin.rs"),
    include_str!("cache.rs"),
    include_str!("cpio.rs"),
    include_str!("image.rs"),
    include_str!("initramfs.rs"),
    include_str!("kernel/bzimage.rs"),
    include_str!("kernel/config.rs"),
    include_str!("kernel/debian.rs"),
    include_str!("kernel/elf.rs"),
    include_str!("kernel/lean.rs"),
    include_str!("kernel/lz4_legacy.rs"),
    include_str!("kernel/mod.rs"),
    include_str!("kernel/modules.rs"),
    include_str!("main.rs"),
    include_str!("oci.rs"),
    include_str!("process.rs"),
    include_str!("template.rs"),
];

/// Which kernels go into the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kernels {
    /// The distribution's, fetched when missing.
    Debian,
    /// Our own, which `kernel lean` must have built.
    Lean,
    /// Both.
    All,
    /// The distribution's, and our own if it has been built.
    Present,
}

/// What `build` starts from.
pub(crate) struct Inputs {
    pub(crate) out: PathBuf,
    pub(crate) agent: PathBuf,
    pub(crate) init: PathBuf,
    pub(crate) hello: PathBuf,
    pub(crate) busybox: PathBuf,
    pub(crate) emulators: Vec<PathBuf>,
    pub(crate) kernels: Kernels,
    pub(crate) packing: Packing,
}

/// The inputs, read.
struct Loaded {
    agent: Vec<u8>,
    init: Vec<u8>,
    hello: Vec<u8>,
    busybox: Vec<u8>,
    /// By the name that they have in the VM: `qemu-aarch64`.
    emulators: BTreeMap<String, Vec<u8>>,
    epoch: u64,
}

/// What `build` did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing had changed.
    Unchanged,
    Built,
}

/// Builds the image unless it is there already.
pub(crate) fn build(inputs: &Inputs, cache: &Cache) -> Result<Outcome> {
    let out = std::path::absolute(&inputs.out)?;
    let kernels = kernels(inputs.kernels, cache)?;
    let loaded = read_inputs(inputs)?;
    let fingerprint = fingerprint(&kernels, &loaded, inputs.packing);
    if is_current(&out, &fingerprint) {
        return Ok(Outcome::Unchanged);
    }
    let parent = out.parent().with_context(|| format!("`{}` has no parent", out.display()))?;
    fs::create_dir_all(parent).with_context(|| format!("cannot make `{}`", parent.display()))?;
    let work = tempfile::Builder::new()
        .prefix(".vm-image-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .tempdir_in(parent)
        .with_context(|| format!("cannot make a folder in `{}`", parent.display()))?;
    write_image(work.path(), inputs, &kernels, &loaded)?;
    store(&work.path().join(".inputs"), fingerprint.as_bytes())?;
    put_in_place(work, &out)?;
    Ok(Outcome::Built)
}

fn kernels(choice: Kernels, cache: &Cache) -> Result<BTreeMap<&'static str, CachedKernel>> {
    let mut kernels = BTreeMap::new();
    if choice != Kernels::Lean {
        // No question to apt when there is one: a build with nothing new is quick and offline.
        let kernel = match debian::cached(cache)? {
            Some(kernel) => kernel,
            None => debian::fetch(cache)?,
        };
        kernels.insert("debian", kernel);
    }
    if choice != Kernels::Debian {
        match lean::cached(cache)? {
            Some(kernel) => drop(kernels.insert("lean", kernel)),
            None if choice == Kernels::Present => {}
            None => bail!("the lean kernel has not been built: `make kernel` does it"),
        }
    }
    Ok(kernels)
}

fn read_inputs(inputs: &Inputs) -> Result<Loaded> {
    let busybox = fs::read(&inputs.busybox).with_context(|| {
        format!("cannot read `{}`: install the package `busybox-static`", inputs.busybox.display())
    })?;
    let loaded = Loaded {
        agent: load(&inputs.agent)?,
        init: load(&inputs.init)?,
        hello: load(&inputs.hello)?,
        busybox,
        emulators: inputs.emulators.iter().map(|path| emulator(path)).collect::<Result<_>>()?,
        epoch: match std::env::var("SOURCE_DATE_EPOCH") {
            Ok(value) => value
                .parse()
                .with_context(|| format!("SOURCE_DATE_EPOCH is `{value}`, not a number"))?,
            Err(_) => EPOCH,
        },
    };
    for (path, program) in [
        (&inputs.agent, &loaded.agent),
        (&inputs.init, &loaded.init),
        (&inputs.hello, &loaded.hello),
        (&inputs.busybox, &loaded.busybox),
    ] {
        check_static(program)
            .with_context(|| format!("`{}` cannot run in the VM", path.display()))?;
    }
    Ok(loaded)
}

/// An emulator and its name, without what the distribution adds to it.
fn emulator(path: &Path) -> Result<(String, Vec<u8>)> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let name = name.strip_suffix("-static").unwrap_or(name);
    ensure!(name.starts_with("qemu-"), "`{}` is not named as QEMU's are", path.display());
    let program = load(path)?;
    check_static(&program).with_context(|| {
        format!("`{}` cannot run in the VM: use those of `qemu-user-static`", path.display())
    })?;
    Ok((name.to_owned(), program))
}

/// The guest has no shared libraries: a program that wants a loader would end in "not found".
fn check_static(program: &[u8]) -> Result<()> {
    use object::read::elf::{FileHeader as _, ProgramHeader as _};
    let header = object::elf::FileHeader64::<object::LittleEndian>::parse(program)
        .map_err(|error| anyhow::anyhow!("it is not an ELF program: {error}"))?;
    let machine = header.e_machine(object::LittleEndian);
    ensure!(machine == object::elf::EM_X86_64, "it is not an x86-64 program");
    let segments = header.program_headers(object::LittleEndian, program)?;
    let wants_loader =
        segments.iter().any(|one| one.p_type(object::LittleEndian) == object::elf::PT_INTERP);
    ensure!(!wants_loader, "it is linked dynamically; busybox comes static in `busybox-static`");
    Ok(())
}

fn fingerprint(
    kernels: &BTreeMap<&str, CachedKernel>,
    loaded: &Loaded,
    packing: Packing,
) -> String {
    let mut hash = Sha256::new();
    let mut add = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    for source in RECIPE {
        add(source.as_bytes());
    }
    for (name, kernel) in kernels {
        add(name.as_bytes());
        add(format!("{:?}", kernel.built).as_bytes());
    }
    for program in [&loaded.agent, &loaded.init, &loaded.hello, &loaded.busybox] {
        add(program);
    }
    for (name, program) in &loaded.emulators {
        add(name.as_bytes());
        add(program);
    }
    add(format!("{packing:?} {}", loaded.epoch).as_bytes());
    hex::encode(hash.finalize())
}

/// True when the image was made from these inputs and its files are all there.
fn is_current(out: &Path, fingerprint: &str) -> bool {
    let Ok(made_from) = fs::read_to_string(out.join(".inputs")) else { return false };
    if made_from != fingerprint {
        return false;
    }
    let Ok(Some(manifest)) = linkspan_state::read::<Manifest>(&out.join("manifest.json")) else {
        return false;
    };
    let is = |file: &str, size| fs::metadata(out.join(file)).is_ok_and(|found| found.len() == size);
    manifest
        .kernels
        .values()
        .all(|entry| is(&entry.file, entry.size) && is(&entry.initramfs, entry.initramfs_size))
        && manifest.images.iter().all(|entry| is(&entry.file, entry.size))
}

fn write_image(
    folder: &Path,
    inputs: &Inputs,
    kernels: &BTreeMap<&'static str, CachedKernel>,
    loaded: &Loaded,
) -> Result<()> {
    let template = template::make(loaded.epoch)?;
    let tool_versions = tool_versions();
    let mut entries = BTreeMap::new();
    for (name, kernel) in kernels {
        let parts = Parts {
            agent: &loaded.agent,
            init: &loaded.init,
            busybox: &loaded.busybox,
            emulators: &loaded.emulators,
            template: &template,
            manifest: &guest_manifest(name, kernel, loaded, &tool_versions)?,
        };
        let initramfs = initramfs::build(&parts, kernel, inputs.packing)?;
        entries.insert((*name).to_owned(), write_kernel(folder, name, kernel, &initramfs)?);
    }
    let applets = builtin::applets(&inputs.busybox)?;
    let images = folder.join("images");
    fs::create_dir(&images).with_context(|| format!("cannot make `{}`", images.display()))?;
    let busybox = builtin::busybox(&loaded.busybox, &applets, loaded.epoch)?;
    let hello = builtin::hello(&loaded.hello, loaded.epoch)?;
    let manifest = Manifest {
        default_kernel: if kernels.contains_key("lean") { "lean" } else { "debian" }.into(),
        kernels: entries,
        images: vec![
            write_builtin(folder, "busybox:latest", "images/busybox.tar", &busybox)?,
            write_builtin(folder, "linkspan/hello:latest", "images/hello.tar", &hello)?,
        ],
        cmdline: CMDLINE.into(),
        tool_versions,
    };
    let path = folder.join("manifest.json");
    linkspan_state::write(&path, &manifest)?;
    readable(&path)
}

fn write_kernel(
    folder: &Path,
    name: &str,
    kernel: &CachedKernel,
    initramfs: &[u8],
) -> Result<KernelEntry> {
    let vmlinux = load(&kernel.vmlinux())?;
    let found = sha256(&vmlinux);
    ensure!(
        found == kernel.built.sha256,
        "`{}` is damaged: remove `{}`",
        kernel.vmlinux().display(),
        kernel.folder.display()
    );
    let (file, initramfs_file) = (format!("vmlinux-{name}"), format!("initramfs-{name}.img"));
    store(&folder.join(&file), &vmlinux)?;
    store(&folder.join(&initramfs_file), initramfs)?;
    store(&folder.join(format!("config-{name}")), &load(&kernel.config())?)?;
    Ok(KernelEntry {
        file,
        initramfs: initramfs_file,
        version: kernel.built.release.clone(),
        size: vmlinux.len() as u64,
        sha256: found,
        initramfs_size: initramfs.len() as u64,
        initramfs_sha256: sha256(initramfs),
        origin: kernel.built.origin.clone(),
    })
}

fn write_builtin(folder: &Path, reference: &str, file: &str, archive: &[u8]) -> Result<ImageEntry> {
    store(&folder.join(file), archive)?;
    let (reference, file) = (reference.to_owned(), file.to_owned());
    Ok(ImageEntry { reference, file, sha256: sha256(archive), size: archive.len() as u64 })
}

/// State files are private; an image may be installed for every user of a machine.
fn readable(path: &Path) -> Result<()> {
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(path, permissions)
        .with_context(|| format!("cannot make `{}` readable", path.display()))
}

fn guest_manifest(
    name: &str,
    kernel: &CachedKernel,
    loaded: &Loaded,
    tool_versions: &BTreeMap<String, String>,
) -> Result<Vec<u8>> {
    Ok(serde_json::to_vec_pretty(&serde_json::json!({
        "format": 1,
        "kernel": name,
        "version": kernel.built.release,
        "origin": kernel.built.origin,
        "agent_sha256": sha256(&loaded.agent),
        "init_sha256": sha256(&loaded.init),
        "tool_versions": tool_versions,
    }))?)
}

fn tool_versions() -> BTreeMap<String, String> {
    let mut versions: BTreeMap<String, String> = ["busybox-static", "e2fsprogs"]
        .into_iter()
        .filter_map(|package| Some((package.to_owned(), apt::installed_version(package)?)))
        .collect();
    versions.insert("linkspan-vm-image".into(), env!("CARGO_PKG_VERSION").into());
    versions
}

fn put_in_place(work: tempfile::TempDir, out: &Path) -> Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    let failed = || format!("cannot put the image at `{}`", out.display());
    if out.exists() {
        let ours = out.join("manifest.json").exists() || is_empty(out);
        ensure!(ours, "`{}` is there and is not a VM image: it stays as it is", out.display());
        // The old image is now where the new one was, and goes with the temporary folder.
        renameat_with(CWD, work.path(), CWD, out, RenameFlags::EXCHANGE).with_context(failed)?;
        work.close().context("cannot remove the old image")
    } else {
        fs::rename(work.keep(), out).with_context(failed)
    }
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none())
}

/// Compares every file of an image with its manifest.
pub(crate) fn verify(folder: &Path) -> Result<Manifest> {
    let image = ImageSearch::only(folder).find()?;
    image.verify()?;
    Ok(image.manifest().clone())
}

#[cfg(test)]
mod tests;

//! The kernel `debian`: the distribution's packaged cloud kernel, with the modules that a VM needs.
//! No compiler takes part.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, bail, ensure};

use super::{bzimage, config, elf, modules};
use crate::{
    apt::{self, Candidate},
    cache::{Built, Cache, CachedKernel, load, sha256, store},
};

/// Packages that depend on the newest kernel for virtual machines: Debian's, Ubuntu's.
const META_PACKAGES: [&str; 2] = ["linux-image-cloud-amd64", "linux-image-virtual"];

/// What the initramfs and the direct boot take for granted.
const REQUIRED: &str = "CONFIG_PVH=y\nCONFIG_BLK_DEV_INITRD=y\nCONFIG_RD_LZ4=y\nCONFIG_RD_ZSTD=y\nCONFIG_DEVTMPFS=y\nCONFIG_EXT4_FS=y\n";

/// Part of the cache key: changes when the way this module makes a kernel does.
const RECIPE: u32 = 1;

/// Covers what decides the cached folder's content besides the package.
pub(crate) fn hash12() -> String {
    let inputs = format!("{RECIPE} {:?} {:?}", modules::WANTED, modules::OPTIONAL);
    sha256(inputs.as_bytes())[..12].to_owned()
}

/// The cached kernel, whichever version; no question to apt.
pub(crate) fn cached(cache: &Cache) -> Result<Option<CachedKernel>> {
    cache.newest("debian", &hash12())
}

/// The version that apt offers now, fetched unless the cache has it.
pub(crate) fn fetch(cache: &Cache) -> Result<CachedKernel> {
    let image = image_package()?;
    if let Some(kernel) = cache.exact("debian", &image.version, &hash12())? {
        return Ok(kernel);
    }
    let unpacked = tempfile::tempdir().context("cannot make a temporary folder")?;
    apt::unpack(&apt::download(cache, &image)?, unpacked.path())?;
    let release = release_of(unpacked.path())?;
    // Ubuntu keeps the modules in a package of their own, Debian does not.
    let extra = format!("linux-modules-{release}");
    if let Some(extra) = apt::candidate(&extra)? {
        apt::unpack(&apt::download(cache, &extra)?, unpacked.path())?;
    }
    assemble(cache, unpacked.path(), &release, &image)
}

fn image_package() -> Result<Candidate> {
    for meta in META_PACKAGES {
        let Some(found) = apt::candidate(meta)? else { continue };
        let numbered = |name: &&String| {
            let version = name.strip_prefix("linux-image-");
            version.is_some_and(|version| version.starts_with(|c: char| c.is_ascii_digit()))
        };
        if let Some(name) = found.depends.iter().find(numbered) {
            let image = apt::candidate(name)?;
            return image
                .with_context(|| format!("apt does not know `{name}`, which `{meta}` needs"));
        }
    }
    bail!(
        "apt offers no kernel: it knows neither {}; run `apt-get update`",
        META_PACKAGES.map(|name| format!("`{name}`")).join(" nor ")
    )
}

/// The one kernel release whose `vmlinuz` the package holds.
fn release_of(unpacked: &Path) -> Result<String> {
    let boot = unpacked.join("boot");
    let entries =
        fs::read_dir(&boot).context("the kernel's package has no folder `boot`")?.flatten();
    let releases: Vec<String> = entries
        .filter_map(|entry| entry.file_name().to_str()?.strip_prefix("vmlinuz-").map(Into::into))
        .collect();
    match &releases[..] {
        [release] => Ok(release.clone()),
        _ => bail!("the kernel's package holds {} kernels, not one", releases.len()),
    }
}

fn assemble(
    cache: &Cache,
    unpacked: &Path,
    release: &str,
    image: &Candidate,
) -> Result<CachedKernel> {
    let boot = unpacked.join("boot");
    let configuration = load(&boot.join(format!("config-{release}")))?;
    let have = config::parse(&String::from_utf8_lossy(&configuration));
    let missing = config::differences(&config::parse(REQUIRED), &have);
    ensure!(missing.is_empty(), "the kernel {release} cannot be used: {}", missing.join("; "));

    let bzimage = load(&boot.join(format!("vmlinuz-{release}")))?;
    let unusable = || format!("the kernel {release} of the package `{}` is of no use", image.name);
    let vmlinux = bzimage::extract(&bzimage).with_context(unusable)?;
    let vmlinux = elf::pack(&vmlinux).with_context(unusable)?;

    let work = cache.work()?;
    store(&work.path().join("vmlinux"), &vmlinux)?;
    store(&work.path().join("config"), &configuration)?;
    let tree = modules::ModuleTree::open(&modules_folder(unpacked, release)?)?;
    let order = tree.order(modules::WANTED)?;
    let folder = work.path().join("modules");
    fs::create_dir(&folder).with_context(|| format!("cannot make `{}`", folder.display()))?;
    let mut names = Vec::new();
    for module in order {
        let name = format!("{module}.ko");
        store(&folder.join(&name), &tree.content(&module)?)?;
        names.push(name);
    }
    let built = Built {
        format: 1,
        release: release.into(),
        package_version: image.version.clone(),
        sha256: sha256(&vmlinux),
        origin: format!(
            "package {} {}, its payload unpacked and stripped of padding",
            image.name, image.version
        ),
        modules: names,
    };
    cache.keep(work, "debian", &hash12(), &built)
}

/// Distributions that merged `/lib` into `/usr/lib` ship the modules there.
fn modules_folder(unpacked: &Path, release: &str) -> Result<std::path::PathBuf> {
    ["lib/modules", "usr/lib/modules"]
        .into_iter()
        .map(|folder| unpacked.join(folder).join(release))
        .find(|folder| folder.join("kernel").is_dir())
        .with_context(|| format!("the kernel's packages hold no modules for {release}"))
}

//! Which modules a packaged kernel needs in the initramfs, and in which order they load.
//!
//! The dependencies come from the modules themselves (`depends=` in their `.modinfo` section, the
//! source from which depmod makes `modules.dep`), because a package that is only unpacked has no
//! `modules.dep` yet.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use object::{Object as _, ObjectSection as _};

/// What the VM needs that a distribution builds as modules. What a kernel has built in is left out
/// by itself; what it has neither way is an error, except for [`OPTIONAL`].
pub(crate) const WANTED: &[&str] = &[
    // The bus, the disk, the network card, randomness, memory given back to the host.
    "virtio_pci",
    "virtio_mmio",
    "virtio_blk",
    "virtio_net",
    "virtio_rng",
    "virtio_balloon",
    // Sockets to the host: QEMU, Virtualization.framework; Hyper-V.
    "vmw_vsock_virtio_transport",
    "hv_sock",
    "vsock_loopback",
    // Networks of containers: bridges, interface pairs, the packet filter with translation.
    "bridge",
    "veth",
    "nf_tables",
    "nft_chain_nat",
    "nft_ct",
    "nft_masq",
    "nft_nat",
    // Files: layers, shared folders, loop-mounted images.
    "overlay",
    "fuse",
    "virtiofs",
    "loop",
];

/// Wanted, but a VM works without: not every distribution's kernel has them.
pub(crate) const OPTIONAL: &[&str] = &["virtio_mmio", "hv_sock", "vsock_loopback", "virtio_rng"];

/// Why there is no load order.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ModuleError {
    #[error("the kernel has no module `{name}`{}", needed_by(.by))]
    Unknown { name: String, by: Option<String> },
    #[error("modules need each other in a circle: {}", .0.join(" -> "))]
    Cycle(Vec<String>),
    #[error("cannot read `{}`", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("`{}` is not a kernel module: {why}", path.display())]
    NotModule { path: PathBuf, why: String },
}

fn needed_by(by: &Option<String>) -> String {
    by.as_ref().map(|by| format!(", which `{by}` needs")).unwrap_or_default()
}

/// The modules of one unpacked kernel package.
pub(crate) struct ModuleTree {
    /// By name with `_`, the file.
    files: BTreeMap<String, PathBuf>,
    builtin: BTreeSet<String>,
}

impl ModuleTree {
    /// Reads `lib/modules/<release>` of an unpacked package.
    pub(crate) fn open(folder: &Path) -> Result<Self, ModuleError> {
        let mut files = BTreeMap::new();
        collect(&folder.join("kernel"), &mut files)?;
        let list = folder.join("modules.builtin");
        let text = fs::read_to_string(&list)
            .map_err(|source| ModuleError::Io { path: list.clone(), source })?;
        let builtin = text.lines().filter_map(|line| module_name(Path::new(line))).collect();
        Ok(Self { files, builtin })
    }

    /// The wanted modules and what they need, dependencies first.
    pub(crate) fn order(&self, wanted: &[&str]) -> Result<Vec<String>, ModuleError> {
        let wanted: Vec<&str> = wanted
            .iter()
            .copied()
            .filter(|name| !OPTIONAL.contains(name) || self.knows(name))
            .collect();
        let mut read = |name: &str| -> Result<Option<Vec<String>>, ModuleError> {
            if self.builtin.contains(name) {
                return Ok(Some(Vec::new()));
            }
            self.files.get(name).map(|path| depends(path)).transpose()
        };
        let order = load_order(&wanted, &mut read)?;
        Ok(order.into_iter().filter(|name| !self.builtin.contains(name)).collect())
    }

    /// A module's content as the kernel's `finit_module` takes it: unpacked.
    pub(crate) fn content(&self, name: &str) -> Result<Vec<u8>, ModuleError> {
        let unknown = || ModuleError::Unknown { name: name.into(), by: None };
        content(self.files.get(name).ok_or_else(unknown)?)
    }

    fn knows(&self, name: &str) -> bool {
        self.builtin.contains(name) || self.files.contains_key(name)
    }
}

/// Dependencies first, each module once, in the order in which `wanted` asks; `depends` gives a
/// module's direct needs, or `None` for a module that does not exist.
pub(crate) fn load_order<E: From<ModuleError>>(
    wanted: &[&str],
    depends: &mut impl FnMut(&str) -> Result<Option<Vec<String>>, E>,
) -> Result<Vec<String>, E> {
    let mut order = Vec::new();
    let mut path = Vec::new();
    for name in wanted {
        visit(&name.replace('-', "_"), depends, &mut path, &mut order)?;
    }
    Ok(order)
}

fn visit<E: From<ModuleError>>(
    name: &str,
    depends: &mut impl FnMut(&str) -> Result<Option<Vec<String>>, E>,
    path: &mut Vec<String>,
    order: &mut Vec<String>,
) -> Result<(), E> {
    if order.iter().any(|done| done == name) {
        return Ok(());
    }
    if let Some(start) = path.iter().position(|above| above == name) {
        let circle = path[start..].iter().cloned().chain([name.to_owned()]).collect();
        return Err(ModuleError::Cycle(circle).into());
    }
    let by = path.last().cloned();
    let needs = depends(name)?.ok_or_else(|| ModuleError::Unknown { name: name.into(), by })?;
    path.push(name.to_owned());
    for need in needs {
        visit(&need.replace('-', "_"), depends, path, order)?;
    }
    path.pop();
    order.push(name.to_owned());
    Ok(())
}

fn collect(folder: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<(), ModuleError> {
    let failed = |source| ModuleError::Io { path: folder.into(), source };
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        if entry.file_type().map_err(failed)?.is_dir() {
            collect(&path, files)?;
        } else if let Some(name) = module_name(&path) {
            files.insert(name, path);
        }
    }
    Ok(())
}

/// `virtio-rng.ko.xz` is the module `virtio_rng`.
fn module_name(path: &Path) -> Option<String> {
    let (stem, ending) = path.file_name()?.to_str()?.split_once(".ko")?;
    matches!(ending, "" | ".xz" | ".zst" | ".gz").then(|| stem.replace('-', "_"))
}

fn content(path: &Path) -> Result<Vec<u8>, ModuleError> {
    let io = |source| ModuleError::Io { path: path.into(), source };
    let packed = fs::read(path).map_err(io)?;
    let mut unpacked = Vec::new();
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("xz") => liblzma::read::XzDecoder::new(&packed[..]).read_to_end(&mut unpacked),
        Some("zst") => {
            zstd::Decoder::new(&packed[..]).and_then(|mut d| d.read_to_end(&mut unpacked))
        }
        Some("gz") => flate2::read::MultiGzDecoder::new(&packed[..]).read_to_end(&mut unpacked),
        _ => return Ok(packed),
    }
    .map_err(io)?;
    Ok(unpacked)
}

fn depends(path: &Path) -> Result<Vec<String>, ModuleError> {
    let not_module = |why: String| ModuleError::NotModule { path: path.into(), why };
    let content = content(path)?;
    let file = object::File::parse(&content[..]).map_err(|error| not_module(error.to_string()))?;
    let section = file
        .section_by_name(".modinfo")
        .ok_or_else(|| not_module("it has no .modinfo section".into()))?;
    let info = section.data().map_err(|error| not_module(error.to_string()))?;
    let value = info.split(|byte| *byte == 0).find_map(|field| field.strip_prefix(b"depends="));
    let value = String::from_utf8_lossy(value.unwrap_or_default());
    Ok(value.split(',').filter(|name| !name.is_empty()).map(Into::into).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(wanted: &[&str], table: &[(&str, &[&str])]) -> Result<Vec<String>, ModuleError> {
        let table: BTreeMap<&str, &[&str]> = table.iter().copied().collect();
        load_order(wanted, &mut |name| {
            Ok(table.get(name).map(|needs| needs.iter().map(|need| (*need).to_owned()).collect()))
        })
    }

    #[test]
    fn dependencies_load_before_what_needs_them_and_once() {
        let table: &[(&str, &[&str])] = &[
            ("virtio_blk", &["virtio_ring", "virtio"]),
            ("virtio_net", &["net-failover", "virtio"]),
            ("net_failover", &[]),
            ("virtio", &["virtio_ring"]),
            ("virtio_ring", &[]),
        ];
        assert_eq!(
            order(&["virtio-blk", "virtio_net"], table).unwrap(),
            ["virtio_ring", "virtio", "virtio_blk", "net_failover", "virtio_net"]
        );
    }

    #[test]
    fn a_circle_is_an_error_that_shows_it() {
        let table: &[(&str, &[&str])] = &[("x", &["a"]), ("a", &["b"]), ("b", &["a"])];
        let error = order(&["x"], table).unwrap_err();
        assert_eq!(error.to_string(), "modules need each other in a circle: a -> b -> a");
    }

    #[test]
    fn an_unknown_name_is_an_error_that_says_who_needs_it() {
        let error = order(&["a"], &[("a", &["gone"])]).unwrap_err();
        assert_eq!(error.to_string(), "the kernel has no module `gone`, which `a` needs");
        let error = order(&["gone"], &[]).unwrap_err();
        assert_eq!(error.to_string(), "the kernel has no module `gone`");
    }

    #[test]
    fn built_in_and_missing_optional_modules_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("kernel")).unwrap();
        fs::write(folder.path().join("modules.builtin"), "kernel/a/b-c.ko\n").unwrap();
        let tree = ModuleTree::open(folder.path()).unwrap();
        assert!(tree.order(&["b_c", "hv_sock"]).unwrap().is_empty());
        assert!(matches!(tree.order(&["overlay"]), Err(ModuleError::Unknown { .. })));
    }

    #[test]
    fn file_names_give_module_names() {
        for (file, name) in [
            ("a/virtio-rng.ko.xz", Some("virtio_rng")),
            ("overlay.ko", Some("overlay")),
            ("x.ko.sig", None),
            ("modules.order", None),
        ] {
            assert_eq!(module_name(Path::new(file)).as_deref(), name, "{file}");
        }
    }
}

use super::*;
use crate::cache::Built;

/// A folder with a cache that holds both kernels (not bootable ones) and the guest's programs.
struct Bench {
    folder: tempfile::TempDir,
    cache: Cache,
}

impl Bench {
    /// `None` where the host lacks what an image is made from.
    fn new() -> Option<Self> {
        let missing = !Path::new("/bin/busybox").exists()
            || check_static(&fs::read("/bin/busybox").unwrap()).is_err()
            || crate::process::command("mke2fs").arg("-V").output().is_err();
        if missing {
            eprintln!("skipped: needs busybox-static and e2fsprogs");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(Some(folder.path().join("cache"))).unwrap();
        for (name, hash, modules) in [
            ("debian", debian::hash12(), vec!["virtio.ko".to_owned()]),
            ("lean", lean::hash12(), vec![]),
        ] {
            let work = cache.work().unwrap();
            store(&work.path().join("vmlinux"), name.as_bytes()).unwrap();
            store(&work.path().join("config"), b"CONFIG_X=y\n").unwrap();
            fs::create_dir(work.path().join("modules")).unwrap();
            for module in &modules {
                store(&work.path().join("modules").join(module), b"a module").unwrap();
            }
            let built = Built {
                format: 1,
                release: "6.0".into(),
                package_version: "6.0-1".into(),
                sha256: sha256(name.as_bytes()),
                origin: "a test".into(),
                modules,
            };
            cache.keep(work, name, &hash, &built).unwrap();
        }
        Some(Self { folder, cache })
    }

    fn inputs(&self, out: &str) -> Inputs {
        Inputs {
            out: self.folder.path().join(out),
            agent: "/bin/busybox".into(),
            init: "/bin/busybox".into(),
            hello: "/bin/busybox".into(),
            busybox: "/bin/busybox".into(),
            emulators: Vec::new(),
            kernels: Kernels::All,
            packing: Packing::Lz4,
        }
    }
}

fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let content = fs::read(&path).unwrap();
                found.insert(path.strip_prefix(folder).unwrap().to_owned(), content);
            }
        }
    }
    found
}

#[test]
fn the_same_inputs_give_the_same_bytes_in_every_file() {
    let Some(bench) = Bench::new() else { return };
    let (one, two) = (bench.inputs("one"), bench.inputs("two"));
    assert_eq!(build(&one, &bench.cache).unwrap(), Outcome::Built);
    assert_eq!(build(&two, &bench.cache).unwrap(), Outcome::Built);
    let (one, two) = (files(&one.out), files(&two.out));
    assert_eq!(one.keys().collect::<Vec<_>>(), two.keys().collect::<Vec<_>>());
    for (name, content) in &one {
        assert!(content == &two[name], "{} differs", name.display());
    }
    assert!(one.len() >= 9, "{:?}", one.keys());
}

#[test]
fn an_unchanged_image_is_left_alone_and_a_changed_one_replaced() {
    let Some(bench) = Bench::new() else { return };
    let mut inputs = bench.inputs("image");
    assert_eq!(build(&inputs, &bench.cache).unwrap(), Outcome::Built);
    assert_eq!(build(&inputs, &bench.cache).unwrap(), Outcome::Unchanged);
    inputs.packing = Packing::Zstd;
    assert_eq!(build(&inputs, &bench.cache).unwrap(), Outcome::Built);
    fs::remove_file(inputs.out.join("images/hello.tar")).unwrap();
    assert_eq!(build(&inputs, &bench.cache).unwrap(), Outcome::Built);
    // Nothing is left beside it.
    let beside = fs::read_dir(bench.folder.path()).unwrap().count();
    assert_eq!(beside, 2, "only the cache and the image");
}

#[test]
fn verify_finds_a_changed_byte() {
    let Some(bench) = Bench::new() else { return };
    let inputs = bench.inputs("image");
    build(&inputs, &bench.cache).unwrap();
    let manifest = verify(&inputs.out).unwrap();
    assert_eq!(manifest.default_kernel, "lean");
    assert_eq!(manifest.kernels.keys().collect::<Vec<_>>(), ["debian", "lean"]);
    assert_eq!(linkspan_state::read(&inputs.out.join("manifest.json")).unwrap(), Some(manifest));
    let path = inputs.out.join("initramfs-lean.img");
    let mut content = fs::read(&path).unwrap();
    content[1000] ^= 1;
    fs::write(&path, content).unwrap();
    let error = format!("{:#}", verify(&inputs.out).unwrap_err());
    assert!(error.contains("initramfs-lean.img"), "{error}");
}

#[test]
fn a_folder_of_someone_else_is_not_replaced() {
    let Some(bench) = Bench::new() else { return };
    let inputs = bench.inputs("image");
    fs::create_dir(&inputs.out).unwrap();
    fs::write(inputs.out.join("letter"), "dear").unwrap();
    let error = build(&inputs, &bench.cache).unwrap_err().to_string();
    assert!(error.contains("is not a VM image"), "{error}");
    assert_eq!(files(&inputs.out).len(), 1);
}

#[test]
fn a_dynamic_program_is_refused_before_it_fails_in_the_vm() {
    let Some(bench) = Bench::new() else { return };
    let mut inputs = bench.inputs("image");
    inputs.agent = "/proc/self/exe".into();
    if check_static(&fs::read("/proc/self/exe").unwrap()).is_ok() {
        eprintln!("skipped: this test is linked statically itself");
        return;
    }
    let error = format!("{:#}", build(&inputs, &bench.cache).unwrap_err());
    assert!(error.contains("linked dynamically"), "{error}");
    assert!(!inputs.out.exists());
}

#[test]
fn the_recipe_names_every_source_of_the_builder() {
    let sources = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let sources: Vec<_> = sources.iter().filter(|(path, _)| !path.ends_with("tests.rs")).collect();
    assert_eq!(sources.len(), RECIPE.len());
    for (path, content) in sources {
        assert!(RECIPE.iter().any(|one| one.as_bytes() == content), "{}", path.display());
    }
}

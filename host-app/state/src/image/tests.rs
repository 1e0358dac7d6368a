use super::*;

fn entry(name: &str, kernel: &[u8], initramfs: &[u8]) -> KernelEntry {
    KernelEntry {
        file: format!("vmlinux-{name}"),
        initramfs: format!("initramfs-{name}.img"),
        version: "6.1.0".into(),
        size: kernel.len() as u64,
        sha256: hex::encode(Sha256::digest(kernel)),
        initramfs_size: initramfs.len() as u64,
        initramfs_sha256: hex::encode(Sha256::digest(initramfs)),
        origin: "made up".into(),
    }
}

fn image(folder: &Path, kernels: &[&str]) -> VmImage {
    let mut manifest = Manifest { default_kernel: kernels[0].into(), ..Manifest::default() };
    for name in kernels {
        std::fs::write(folder.join(format!("vmlinux-{name}")), b"kernel").unwrap();
        std::fs::write(folder.join(format!("initramfs-{name}.img")), b"initramfs").unwrap();
        manifest.kernels.insert((*name).into(), entry(name, b"kernel", b"initramfs"));
    }
    std::fs::create_dir_all(folder.join("images")).unwrap();
    std::fs::write(folder.join("images/busybox.tar"), b"archive").unwrap();
    manifest.images.push(ImageEntry {
        reference: "busybox:latest".into(),
        file: "images/busybox.tar".into(),
        sha256: hex::encode(Sha256::digest(b"archive")),
        size: 7,
    });
    crate::write(&folder.join("manifest.json"), &manifest).unwrap();
    ImageSearch::only(folder).find().unwrap()
}

#[test]
fn automatic_is_lean_where_there_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let both = image(folder.path(), &["debian", "lean"]);
    assert_eq!(both.kernel(&KernelChoice::Auto).unwrap().name, "lean");
    let folder = tempfile::tempdir().unwrap();
    let one = image(folder.path(), &["debian"]);
    assert_eq!(one.kernel(&KernelChoice::Auto).unwrap().name, "debian");
    let error = one.kernel(&"lean".parse().unwrap()).unwrap_err();
    assert!(matches!(error, ImageError::NoKernel { .. }), "{error}");
    assert!(error.hint().contains("make kernel"));
}

#[test]
fn a_missing_or_short_file_says_how_to_get_it() {
    let folder = tempfile::tempdir().unwrap();
    let image = image(folder.path(), &["lean"]);
    image.verify().unwrap();
    std::fs::write(folder.path().join("vmlinux-lean"), b"ker").unwrap();
    let error = image.kernel(&KernelChoice::Auto).unwrap_err();
    assert!(error.to_string().contains("it has 3 bytes, the manifest says 6"), "{error}");
    assert!(error.hint().contains("make image"));
    std::fs::remove_file(folder.path().join("initramfs-lean.img")).unwrap();
    let error = image.kernel(&KernelChoice::Auto).unwrap_err();
    assert!(matches!(error, ImageError::Missing { what: "initramfs", .. }), "{error}");
    assert!(error.hint().contains("make image"));
}

#[test]
fn a_changed_byte_is_found_by_its_hash() {
    let folder = tempfile::tempdir().unwrap();
    let image = image(folder.path(), &["lean"]);
    std::fs::write(folder.path().join("vmlinux-lean"), b"kerneL").unwrap();
    image.kernel(&KernelChoice::Auto).unwrap();
    let error = image.verify().unwrap_err();
    assert!(error.to_string().contains("SHA-256"), "{error}");
}

#[test]
fn no_image_names_every_place_and_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let error = ImageSearch::only(folder.path()).find().unwrap_err();
    assert!(error.to_string().contains(&folder.path().display().to_string()), "{error}");
    assert!(error.hint().contains("make image"));
}

#[test]
fn a_kernel_by_path_boots_with_the_images_initramfs() {
    let folder = tempfile::tempdir().unwrap();
    let image = image(folder.path(), &["debian", "lean"]);
    let own = folder.path().join("own");
    let choice: KernelChoice = own.to_str().unwrap().parse().unwrap();
    assert!(image.kernel(&choice).is_err());
    std::fs::write(&own, b"k").unwrap();
    let kernel = image.kernel(&choice).unwrap();
    assert_eq!(kernel.kernel, own);
    assert!(kernel.initramfs.ends_with("initramfs-lean.img"));
    assert!("relative/path".parse::<KernelChoice>().is_err());
}

#[test]
fn a_built_in_image_is_found_with_and_without_its_tag() {
    let folder = tempfile::tempdir().unwrap();
    let image = image(folder.path(), &["lean"]);
    for reference in ["busybox", "busybox:latest", "docker.io/library/busybox:latest"] {
        assert!(image.builtin(reference).unwrap().is_some(), "{reference}");
    }
    for reference in ["busybox:1", "alpine", "x/busybox"] {
        assert!(image.builtin(reference).unwrap().is_none(), "{reference}");
    }
    std::fs::remove_file(folder.path().join("images/busybox.tar")).unwrap();
    assert!(image.builtin("busybox").is_err());
}

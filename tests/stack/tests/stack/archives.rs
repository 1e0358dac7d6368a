//! Images, made in memory.

use std::os::unix::fs::MetadataExt as _;

use linkspan_images::{Digest, Platform};
use serde_json::json;

/// A tar of these files; folders end with `/`. All belong to this user, so that they can be
/// unpacked without being root.
pub(crate) fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let own = std::fs::metadata("/proc/self").expect("procfs is there");
    let mut archive = tar::Builder::new(Vec::new());
    for (path, contents) in files {
        let mut header = tar::Header::new_ustar();
        let folder = path.ends_with('/');
        header.set_entry_type(if folder {
            tar::EntryType::Directory
        } else {
            tar::EntryType::Regular
        });
        header.set_mode(0o755);
        header.set_uid(own.uid().into());
        header.set_gid(own.gid().into());
        header.set_mtime(1_000_000_000);
        header.set_size(contents.len() as u64);
        archive.append_data(&mut header, path, *contents).expect("memory does not end");
    }
    archive.into_inner().expect("memory does not end")
}

/// A tar of one file with a name that no honest tar has.
pub(crate) fn tar_raw(name: &str, contents: &[u8]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_size(contents.len() as u64);
    header.set_cksum();
    archive.append(&header, contents).expect("memory does not end");
    archive.into_inner().expect("memory does not end")
}

/// A root file system. The scripted programs need no files of it.
pub(crate) fn rootfs() -> Vec<u8> {
    tar(&[
        ("bin/", b""),
        ("bin/sh", &[7; 20_000]),
        ("etc/", b""),
        ("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n"),
    ])
}

/// An OCI layout with one image of one layer under this name.
pub(crate) fn oci(name: &str) -> Vec<u8> {
    let layer = rootfs();
    let platform = Platform::here();
    let config = json!({
        "architecture": platform.architecture, "os": "linux", "created": "2024-01-02T03:04:05Z",
        "config": {"Env": ["PATH=/bin", "FROM=image"], "Cmd": ["echo", "from the image"]},
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(&layer).to_string()]},
    });
    let config = config.to_string().into_bytes();
    let descriptor = |bytes: &[u8], kind: &str| {
        json!({"mediaType": format!("application/vnd.oci.image.{kind}"),
            "digest": Digest::of(bytes).to_string(), "size": bytes.len()})
    };
    let manifest = json!({"schemaVersion": 2, "config": descriptor(&config, "config.v1+json"),
        "layers": [descriptor(&layer, "layer.v1.tar")]});
    let manifest = manifest.to_string().into_bytes();
    let mut entry = descriptor(&manifest, "manifest.v1+json");
    entry["annotations"] = json!({"io.containerd.image.name": name});
    let index = json!({"schemaVersion": 2, "manifests": [entry]}).to_string();
    let blob = |bytes: &[u8]| format!("blobs/sha256/{}", Digest::of(bytes).hex());
    tar(&[
        ("blobs/", b""),
        ("blobs/sha256/", b""),
        (&blob(&layer), &layer),
        (&blob(&config), &config),
        (&blob(&manifest), &manifest),
        ("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#),
        ("index.json", index.as_bytes()),
    ])
}

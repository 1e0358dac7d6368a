//! The built-in container images, as OCI archives: a tar of an OCI image layout.
//!
//! Reproducible: entries in a fixed order, owner root, one time for everything. The layers are not
//! compressed: they never travel further than from the host's disk into the VM, and unpacking would
//! cost more than it saves.

use std::{collections::HashMap, str::FromStr as _};

use anyhow::{Context as _, Result};
use oci_spec::image::{
    Arch, ConfigBuilder, DescriptorBuilder, Digest, HistoryBuilder, ImageConfigurationBuilder,
    ImageIndexBuilder, ImageManifestBuilder, MediaType, Os, PlatformBuilder, RootFsBuilder,
};

use crate::cache::sha256;

/// What an image starts, and how.
pub(crate) struct Recipe<'a> {
    /// `busybox:latest`.
    pub(crate) reference: &'a str,
    pub(crate) entrypoint: &'a [&'a str],
    pub(crate) command: &'a [&'a str],
    /// One sentence for the image's history.
    pub(crate) made_by: &'a str,
}

/// One layer, built entry by entry.
pub(crate) struct Layer {
    tar: tar::Builder<Vec<u8>>,
    epoch: u64,
}

impl Layer {
    pub(crate) fn new(epoch: u64) -> Self {
        Self { tar: tar::Builder::new(Vec::new()), epoch }
    }

    pub(crate) fn directory(&mut self, name: &str, mode: u32) -> Result<()> {
        self.entry(tar::EntryType::Directory, &format!("{name}/"), mode, &[])
    }

    pub(crate) fn file(&mut self, name: &str, mode: u32, content: &[u8]) -> Result<()> {
        self.entry(tar::EntryType::Regular, name, mode, content)
    }

    pub(crate) fn symlink(&mut self, name: &str, target: &str) -> Result<()> {
        let mut header = self.header(tar::EntryType::Symlink, 0o777, 0);
        self.tar
            .append_link(&mut header, name, target)
            .with_context(|| format!("cannot put the link `{name}` into the layer"))
    }

    fn entry(&mut self, kind: tar::EntryType, name: &str, mode: u32, content: &[u8]) -> Result<()> {
        let mut header = self.header(kind, mode, content.len() as u64);
        self.tar
            .append_data(&mut header, name, content)
            .with_context(|| format!("cannot put `{name}` into the layer"))
    }

    fn header(&self, kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(self.epoch);
        header.set_size(size);
        header
    }

    fn finish(self) -> Result<Vec<u8>> {
        self.tar.into_inner().context("cannot finish the layer")
    }
}

/// Wraps one layer into a whole archive.
pub(crate) fn archive(recipe: &Recipe<'_>, layer: Layer) -> Result<Vec<u8>> {
    let epoch = layer.epoch;
    let layer = layer.finish()?;
    let configuration = serde_json::to_vec(&configuration(recipe, &layer, epoch)?)?;
    let layer_descriptor = DescriptorBuilder::default()
        .media_type(MediaType::ImageLayer)
        .digest(digest(&layer)?)
        .size(layer.len() as u64)
        .build()?;
    let configuration_descriptor = DescriptorBuilder::default()
        .media_type(MediaType::ImageConfig)
        .digest(digest(&configuration)?)
        .size(configuration.len() as u64)
        .build()?;
    let manifest = ImageManifestBuilder::default()
        .schema_version(2_u32)
        .media_type(MediaType::ImageManifest)
        .config(configuration_descriptor)
        .layers(vec![layer_descriptor])
        .build()?;
    let manifest = serde_json::to_vec(&manifest)?;
    let index = index(recipe, &manifest)?;

    let mut tar = Layer::new(epoch);
    tar.file("oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    tar.file("index.json", 0o644, &index)?;
    tar.directory("blobs", 0o755)?;
    tar.directory("blobs/sha256", 0o755)?;
    for blob in [&manifest, &configuration, &layer] {
        tar.file(&format!("blobs/sha256/{}", sha256(blob)), 0o644, blob)?;
    }
    tar.finish()
}

fn configuration(
    recipe: &Recipe<'_>,
    layer: &[u8],
    epoch: u64,
) -> Result<oci_spec::image::ImageConfiguration> {
    let strings = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let created = jiff::Timestamp::from_second(i64::try_from(epoch)?)?.to_string();
    let mut config = ConfigBuilder::default()
        .env(vec!["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into()]);
    if !recipe.entrypoint.is_empty() {
        config = config.entrypoint(strings(recipe.entrypoint));
    }
    if !recipe.command.is_empty() {
        config = config.cmd(strings(recipe.command));
    }
    let history =
        HistoryBuilder::default().created(created.clone()).created_by(recipe.made_by).build()?;
    let root = RootFsBuilder::default()
        .typ("layers")
        .diff_ids(vec![format!("sha256:{}", sha256(layer))])
        .build()?;
    Ok(ImageConfigurationBuilder::default()
        .created(created)
        .architecture(Arch::Amd64)
        .os(Os::Linux)
        .config(config.build()?)
        .rootfs(root)
        .history(vec![history])
        .build()?)
}

fn index(recipe: &Recipe<'_>, manifest: &[u8]) -> Result<Vec<u8>> {
    // The name as skopeo and podman look it up in an archive.
    let name = ("org.opencontainers.image.ref.name".to_owned(), recipe.reference.to_owned());
    let descriptor = DescriptorBuilder::default()
        .media_type(MediaType::ImageManifest)
        .digest(digest(manifest)?)
        .size(manifest.len() as u64)
        .platform(PlatformBuilder::default().architecture(Arch::Amd64).os(Os::Linux).build()?)
        .annotations(HashMap::from([name]))
        .build()?;
    let index = ImageIndexBuilder::default()
        .schema_version(2_u32)
        .media_type(MediaType::ImageIndex)
        .manifests(vec![descriptor])
        .build()?;
    Ok(serde_json::to_vec(&index)?)
}

fn digest(blob: &[u8]) -> Result<Digest> {
    Digest::from_str(&format!("sha256:{}", sha256(blob))).context("not a digest")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process;

    fn sample() -> Vec<u8> {
        let mut layer = Layer::new(1_767_225_600);
        layer.directory("bin", 0o755).unwrap();
        layer.file("bin/tool", 0o755, b"#!/bin/sh\n").unwrap();
        layer.symlink("bin/sh", "/bin/tool").unwrap();
        let recipe = Recipe {
            reference: "linkspan/hello:latest",
            entrypoint: &["/bin/tool"],
            command: &[],
            made_by: "a test",
        };
        archive(&recipe, layer).unwrap()
    }

    #[test]
    fn the_same_inputs_give_the_same_archive() {
        assert!(sample() == sample());
    }

    #[test]
    fn skopeo_reads_the_archive() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sample.tar");
        std::fs::write(&path, sample()).unwrap();
        let mut command = process::command("skopeo");
        command.arg("inspect").arg("--config").arg(format!("oci-archive:{}", path.display()));
        if command.get_program() == "skopeo"
            && process::command("skopeo").arg("-v").output().is_err()
        {
            eprintln!("skipped: there is no skopeo");
            return;
        }
        let text = process::text(&mut command).unwrap();
        let config: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(config["config"]["Entrypoint"][0], "/bin/tool");
        assert_eq!(config["created"], "2026-01-01T00:00:00Z");
        // A copy makes it read every blob and compare the digests.
        let mut copy = process::command("skopeo");
        copy.arg("copy").arg("--insecure-policy").arg(format!("oci-archive:{}", path.display()));
        process::output(copy.arg(format!("oci:{}/copy", folder.path().display()))).unwrap();
    }
}

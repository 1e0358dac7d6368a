//! Archives out: the face of `save`. What `load` reads.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::digest::{Digest, ImageId};
use crate::error::{Context as _, Error, Result};
use crate::manifest::{ANNOTATION_NAME, ANNOTATION_REF};
use crate::packing::{LayerCompression, Packing};
use crate::platform::Platform;
use crate::reference::Reference;

use super::content::own;
use super::outgoing::{Manifest, Outgoing, OutgoingLayer};
use super::{RemoteBlob, Store, parse_tag};

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// What `save` writes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ArchiveFormat {
    /// An OCI layout that has `manifest.json` too, as Docker saves since version 25. Both kinds of
    /// readers take it.
    #[default]
    Both,
    /// `manifest.json` and plain layers, as Docker saved before.
    Docker,
    /// An OCI layout (image-spec, image-layout.md).
    Oci,
}

/// An image to be saved, with the names that it has in the archive.
struct Saved {
    image: Outgoing,
    tags: Vec<Reference>,
}

impl Store {
    /// Writes images as one archive: a tar. Gives its bytes. A name may be as in
    /// [`Store::resolve`]; a repository without a tag means all its tags. `wanted`: an image of
    /// another platform is refused.
    ///
    /// # Errors
    /// As [`Store::resolve`]; [`Error::NotGivenBack`]; [`Error::NoPlatform`]; [`Error::Write`] when
    /// `out` fails.
    pub fn save(
        self: &Arc<Self>,
        names: &[String],
        wanted: Option<&Platform>,
        format: ArchiveFormat,
        out: impl Write,
    ) -> Result<u64> {
        let images = self.to_save(names)?;
        for saved in &images {
            saved.image.check_whole()?;
            let platform = &saved.image.platform;
            if let Some(wanted) = wanted.filter(|wanted| !platform.is(wanted)) {
                return Err(Error::NoPlatform {
                    what: format!("image {}", saved.image.id),
                    wanted: wanted.to_string(),
                    available: vec![platform.to_string()],
                });
            }
        }
        Archive::new(self, None, out).write(&images, format)
    }

    /// Writes an image of layers that are there as an archive, under these names, and does not keep
    /// it. Without `compression` layers are written as they are kept. Gives its id.
    ///
    /// # Errors
    /// As [`Store::make_image`] and [`Store::save`]; [`Error::Unsupported`] for compressed layers in
    /// [`ArchiveFormat::Docker`].
    pub fn save_new(
        self: &Arc<Self>,
        config_json: Vec<u8>,
        names: &[String],
        format: ArchiveFormat,
        compression: Option<LayerCompression>,
        out: impl Write,
    ) -> Result<ImageId> {
        if format == ArchiveFormat::Docker && compression.is_some() {
            let why = "older readers take plain layers only".to_owned();
            return Err(Error::Unsupported { what: "a compression of layers".to_owned(), why });
        }
        let mut tags: Vec<Reference> = Vec::new();
        for name in names {
            let tag = parse_tag(name)?;
            tags.extend(Some(tag).filter(|tag| !tags.contains(tag)));
        }
        let image = self.outgoing_new(config_json)?;
        image.check_whole()?;
        let id = image.id;
        Archive::new(self, compression, out).write(&[Saved { image, tags }], format)?;
        Ok(id)
    }

    /// The images of these names, each once, in the order of the names.
    fn to_save(self: &Arc<Self>, names: &[String]) -> Result<Vec<Saved>> {
        let mut images: Vec<Saved> = Vec::new();
        for name in names {
            for (id, tag) in self.named(name)? {
                let known = images.iter().position(|saved| saved.image.id == id);
                let at = match known {
                    Some(at) => at,
                    None => {
                        let image = self.outgoing(&id.to_string())?;
                        images.push(Saved { image, tags: Vec::new() });
                        images.len() - 1
                    }
                };
                let tags = &mut images[at].tags;
                tags.extend(tag.filter(|tag| !tags.contains(tag)));
            }
        }
        Ok(images)
    }

    /// Images and the tags by which they were asked for.
    fn named(self: &Arc<Self>, name: &str) -> Result<Vec<(ImageId, Option<Reference>)>> {
        let reference = Reference::parse(name).ok();
        let repository = reference.as_ref().filter(|r| r.tag().is_none() && r.digest().is_none());
        if let Some(repository) = repository {
            let tags = self.tags_of_repository(repository);
            if !tags.is_empty() {
                return Ok(tags.into_iter().map(|(tag, id)| (id, Some(tag))).collect());
            }
        }
        let (id, tag) = self.find_name(name)?;
        Ok(vec![(id, tag.filter(|tag| tag.digest().is_none()))])
    }
}

/// A tar on its way out. The same images give the same bytes: nothing of it has a time.
struct Archive<'a, W: Write> {
    store: &'a Store,
    /// None: layers are written as they are kept.
    compression: Option<LayerCompression>,
    tar: tar::Builder<Counted<W>>,
    written: BTreeSet<String>,
}

impl<'a, W: Write> Archive<'a, W> {
    fn new(store: &'a Store, compression: Option<LayerCompression>, out: W) -> Self {
        let tar = tar::Builder::new(Counted { out, bytes: 0 });
        Self { store, compression, tar, written: BTreeSet::new() }
    }

    /// All of it. Gives its bytes.
    fn write(mut self, images: &[Saved], format: ArchiveFormat) -> Result<u64> {
        match format {
            ArchiveFormat::Docker => self.docker(images)?,
            ArchiveFormat::Oci => self.layout(images, false)?,
            ArchiveFormat::Both => self.layout(images, true)?,
        }
        let mut out = self.tar.into_inner().map_err(Error::Write)?;
        out.flush().map_err(Error::Write)?;
        Ok(out.bytes)
    }

    /// `manifest.json`, configurations by their digest, layers as plain tars.
    fn docker(&mut self, images: &[Saved]) -> Result<()> {
        for Saved { image, .. } in images {
            for layer in &image.layers {
                let name = format!("{}.tar", layer.diff_id.hex());
                self.plain_layer(&name, &layer.diff_id, layer.tar_bytes)?;
            }
            self.bytes(&format!("{}.json", image.id.0.hex()), &image.config)?;
        }
        let layer = |digest: &Digest| format!("{}.tar", digest.hex());
        let item = |saved: &Saved| {
            let layers = saved.image.layers.iter().map(|of| layer(&of.diff_id)).collect();
            docker_item(saved, format!("{}.json", saved.image.id.0.hex()), layers)
        };
        let items: Vec<Value> = images.iter().map(item).collect();
        self.json("manifest.json", &json!(items))?;
        let mut repositories = BTreeMap::<String, BTreeMap<String, String>>::new();
        for Saved { image, tags } in images {
            let top = image.layers.last().map(|layer| layer.diff_id.hex()).unwrap_or_default();
            for tag in tags {
                let of_it = repositories.entry(tag.familiar_name()).or_default();
                of_it.insert(tag.tag().unwrap_or_default().to_owned(), top.clone());
            }
        }
        self.json("repositories", &json!(repositories))
    }

    /// An OCI layout; also with Docker's `manifest.json`.
    fn layout(&mut self, images: &[Saved], docker: bool) -> Result<()> {
        self.folder("blobs/")?;
        self.folder("blobs/sha256/")?;
        let (mut descriptors, mut items) = (Vec::new(), Vec::new());
        for saved in images {
            let Saved { image, tags } = saved;
            let manifest = self.layers(image)?;
            self.bytes(&blob_name(&image.id.0), &image.config)?;
            self.bytes(&blob_name(&manifest.digest), &manifest.bytes)?;
            let descriptor = |tag: Option<&Reference>| descriptor(&manifest, &image.platform, tag);
            match tags.is_empty() {
                true => descriptors.push(descriptor(None)),
                false => descriptors.extend(tags.iter().map(|tag| descriptor(Some(tag)))),
            }
            let layers = manifest.layers.iter().map(|blob| blob_name(&blob.digest)).collect();
            items.push(docker_item(saved, blob_name(&image.id.0), layers));
        }
        let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": descriptors});
        self.json("index.json", &index)?;
        if docker {
            self.json("manifest.json", &json!(items))?;
        }
        self.json("oci-layout", &json!({"imageLayoutVersion": "1.0.0"}))
    }

    /// The layers of an image, and a manifest of these.
    fn layers(&mut self, image: &Outgoing) -> Result<Manifest> {
        let Some(compression) = self.compression else {
            let manifest = manifest_at_hand(image)?;
            for (layer, blob) in image.layers.iter().zip(&manifest.layers) {
                self.layer_at_hand(layer, blob)?;
            }
            return Ok(manifest);
        };
        let mut blobs = Vec::new();
        for layer in &image.layers {
            blobs.push(self.compressed_layer(image, layer, compression)?);
        }
        image.manifest(blobs)
    }

    fn layer_at_hand(&mut self, layer: &OutgoingLayer, blob: &RemoteBlob) -> Result<()> {
        let name = blob_name(&blob.digest);
        if blob.digest == layer.diff_id {
            return self.plain_layer(&name, &layer.diff_id, layer.tar_bytes);
        }
        let bytes = self.store.blob(&blob.digest)?;
        self.stream(&name, blob.size, bytes)
    }

    /// A layer as it is asked for.
    fn compressed_layer(
        &mut self,
        image: &Outgoing,
        layer: &OutgoingLayer,
        LayerCompression { packing, all }: LayerCompression,
    ) -> Result<RemoteBlob> {
        let (kept, plain) = (layer.at_hand(), layer.plain());
        let stays = kept != plain && (!all || packing.is_of(&kept.media_type));
        let blob = match packing {
            _ if stays => kept,
            Packing::Plain => plain,
            _ => {
                let (blob, file) = image.pack(&layer.diff_id, packing)?;
                let bytes = File::open(file.path()).context("open", file.path())?;
                self.stream(&blob_name(&blob.digest), blob.size, bytes)?;
                return Ok(blob);
            }
        };
        self.layer_at_hand(layer, &blob)?;
        Ok(blob)
    }

    fn plain_layer(&mut self, name: &str, diff_id: &Digest, size: u64) -> Result<()> {
        if self.written.contains(name) {
            return Ok(());
        }
        let tar = self.store.layer_tar(diff_id)?;
        self.stream(name, size, tar)
    }

    fn json(&mut self, name: &str, value: &Value) -> Result<()> {
        self.bytes(name, value.to_string().as_bytes())
    }

    fn bytes(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        self.stream(name, bytes.len() as u64, bytes)
    }

    fn folder(&mut self, name: &str) -> Result<()> {
        let mut header = header(0o755, 0);
        header.set_entry_type(tar::EntryType::Directory);
        self.tar.append_data(&mut header, name, io::empty()).map_err(Error::Write)
    }

    /// A member of this size, which comes from the store.
    fn stream(&mut self, name: &str, size: u64, from: impl Read) -> Result<()> {
        if !self.written.insert(name.to_owned()) {
            return Ok(());
        }
        let mut from = Exactly { from, left: size, failure: None };
        let written = self.tar.append_data(&mut header(0o644, size), name, &mut from);
        if written.is_ok() {
            // The end is where the digest is compared.
            from.end();
        }
        match (from.failure.take(), written) {
            (Some(error), _) => Err(own(error, Path::new(name))),
            (None, written) => written.map_err(Error::Write),
        }
    }
}

/// The manifest under which the image is known, if its archives need no compressing; else one of
/// what is there.
fn manifest_at_hand(image: &Outgoing) -> Result<Manifest> {
    let at_hand = |manifest: &&Manifest| {
        let mut layers = image.layers.iter().zip(&manifest.layers);
        layers.all(|(layer, blob)| layer.is_at_hand(&blob.digest))
    };
    match image.manifests.iter().find(at_hand) {
        Some(manifest) => Ok(manifest.clone()),
        None => image.manifest(image.layers.iter().map(|layer| layer.at_hand()).collect()),
    }
}

fn descriptor(manifest: &Manifest, platform: &Platform, tag: Option<&Reference>) -> Value {
    let mut descriptor = json!({
        "mediaType": manifest.media_type, "digest": manifest.digest, "size": manifest.bytes.len(),
    });
    if !platform.architecture.is_empty() {
        descriptor["platform"] = json!(platform);
    }
    if let Some(tag) = tag {
        let full = format!("{}:{}", tag.repository(), tag.tag().unwrap_or_default());
        descriptor["annotations"] =
            json!({ANNOTATION_NAME: full, ANNOTATION_REF: tag.tag().unwrap_or_default()});
    }
    descriptor
}

fn docker_item(saved: &Saved, config: String, layers: Vec<String>) -> Value {
    let tags: Vec<String> = saved.tags.iter().map(Reference::familiar).collect();
    json!({"Config": config, "RepoTags": tags, "Layers": layers})
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn header(mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header
}

/// What is written is counted.
struct Counted<W> {
    out: W,
    bytes: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.out.write(bytes)?;
        self.bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Just as many bytes as the header says, or a failure.
struct Exactly<R> {
    from: R,
    left: u64,
    failure: Option<io::Error>,
}

impl<R: Read> Exactly<R> {
    fn end(&mut self) {
        match self.from.read(&mut [0]) {
            Ok(0) => {}
            Ok(_) => {
                self.fail(io::Error::other(Error::corrupt("a layer", "it is longer than it was")))
            }
            Err(error) => self.fail(error),
        }
    }

    fn fail(&mut self, error: io::Error) {
        self.failure.get_or_insert(error);
    }
}

impl<R: Read> Read for Exactly<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if most == 0 {
            return Ok(0);
        }
        let error = match self.from.read(&mut buffer[..most]) {
            Ok(n) if n > 0 => {
                self.left -= n as u64;
                return Ok(n);
            }
            Ok(_) => io::Error::other(Error::corrupt("a layer", "it is shorter than it was")),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
            Err(error) => error,
        };
        let words = error.to_string();
        self.fail(error);
        Err(io::Error::other(words))
    }
}

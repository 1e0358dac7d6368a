//! Pushing: the layers that the registry lacks, several at once, the configuration, then the
//! manifest.

use std::{io, path::PathBuf, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use linkspan_images::{
    Digest, LayerFile, Manifest, Outgoing, OutgoingLayer, Platform, Reference, RemoteBlob,
};
use linkspan_registry::{
    BlobSource, Credentials, Descriptor, Event, Progress, Pushed as How, Repository, Status,
};
use tokio::sync::OnceCell;

use super::{Error, Lines, Registries, blocking, short};

/// Image-spec, config.md.
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// An image that is in its registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// What it is called there.
    pub tag: String,
    /// Of the manifest.
    pub digest: Digest,
    /// Of the manifest, in bytes.
    pub size: u64,
}

impl Registries {
    /// The tags of a repository that the store has.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a reference that has a tag or a digest already, and when there are
    /// none.
    pub async fn local_tags(&self, repository: &Reference) -> Result<Vec<Reference>, Error> {
        if repository.tag().is_some() || repository.digest().is_some() {
            return Err(Error::Invalid("tag can't be used with --all-tags/-a".into()));
        }
        let (store, named) = (Arc::clone(self.store()), repository.clone());
        let tags = blocking(move || Ok(store.tags_of_repository(&named))).await?;
        if tags.is_empty() {
            let name = repository.familiar_name();
            return Err(Error::Missing(name));
        }
        Ok(tags.into_iter().map(|(tag, _)| tag).collect())
    }

    /// Pushes the image that has this name to where the name says. `wanted`: it must be of this
    /// platform. An image that was pulled keeps the digest of its manifest, if the archives that
    /// it names are here or there.
    ///
    /// # Errors
    /// Of the registry and of the store.
    pub async fn push(
        &self,
        reference: &Reference,
        wanted: Option<&Platform>,
        credentials: Credentials,
        lines: &Lines,
    ) -> Result<Pushed, Error> {
        if reference.digest().is_some() {
            return Err(Error::Invalid("cannot push a digest reference".into()));
        }
        let repository = self.client().repository(reference, credentials);
        let reference = repository.reference().clone();
        let (store, name) = (Arc::clone(self.store()), reference.familiar());
        let image = blocking(move || store.outgoing(&name)).await.map_err(|error| match error {
            Error::Store(linkspan_images::Error::NotFound { .. }) => {
                Error::Missing(reference.familiar_name())
            }
            other => other,
        })?;
        if let Some(wanted) = wanted {
            check_platform(&image, wanted)?;
        }
        lines.tell("", format!("The push refers to repository [{}]", reference.repository()));
        for layer in &image.layers {
            lines.tell(short(&layer.diff_id), "Preparing");
        }
        let image = Arc::new(image);
        let manifest = choose(&repository, &image).await?;
        let push = Push { repository: &repository, image: &image, lines };
        push.layers(&manifest).await?;
        push.config().await?;
        let bytes = Bytes::from(manifest.bytes.clone());
        repository.put_manifest(&manifest.media_type, bytes, false).await?;
        let tag = reference.tag().unwrap_or_default().to_owned();
        let (digest, size) = (manifest.digest, manifest.bytes.len() as u64);
        let known = Arc::clone(&image);
        blocking(move || known.pushed(&reference, &manifest)).await?;
        lines.tell(tag.clone(), format!("digest: {digest} size: {size}"));
        Ok(Pushed { tag, digest, size })
    }
}

fn check_platform(image: &Outgoing, wanted: &Platform) -> Result<(), Error> {
    let is = &image.platform;
    if is.os == wanted.os && is.architecture == wanted.architecture {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "image {} is for {is} and not for the specified platform ({wanted})",
        image.id
    )))
}

/// The manifest to push: one that the image has, if each of its archives can be given or is in the
/// registry already; else one of what can be given. What is known in this registry comes first, so
/// that an image which was pulled from it keeps its digest, also when it came from elsewhere, too.
async fn choose(repository: &Repository, image: &Arc<Outgoing>) -> Result<Manifest, Error> {
    let target = repository.reference();
    let (own, same) = (target.repository(), format!("{}/", target.domain()));
    let distance = |manifest: &&Manifest| {
        let all = |test: &dyn Fn(&OutgoingLayer, &Digest) -> bool| {
            image.layers.iter().zip(&manifest.layers).all(|(layer, blob)| test(layer, &blob.digest))
        };
        let known = |test: &dyn Fn(&String) -> bool| {
            all(&|layer, digest| layer.sources(digest).iter().any(test))
        };
        let given = all(&|layer, digest| layer.has(digest));
        (!known(&|source| *source == own), !known(&|source| source.starts_with(&same)), !given)
    };
    let mut manifests: Vec<_> = image.manifests.iter().collect();
    manifests.sort_by_cached_key(distance);
    for manifest in manifests {
        if is_there(repository, image, manifest).await? {
            return Ok(manifest.clone());
        }
    }
    image.check_whole()?;
    let mut blobs = Vec::new();
    for layer in &image.layers {
        let blob = match layer.packed() {
            Some(blob) => blob,
            None => {
                // What comes out is remembered, and made again when the registry lacks it.
                let (image, diff_id) = (Arc::clone(image), layer.diff_id);
                blocking(move || image.compress(&diff_id).map(|(blob, _)| blob)).await?
            }
        };
        blobs.push(blob);
    }
    Ok(image.manifest(blobs)?)
}

/// Whether the repository has or can get each archive of a manifest. Those that only another
/// repository of the registry can give are mounted, since only that shows that it does.
async fn is_there(
    repository: &Repository,
    image: &Outgoing,
    manifest: &Manifest,
) -> Result<bool, Error> {
    for (layer, blob) in image.layers.iter().zip(&manifest.layers) {
        if layer.has(&blob.digest) || repository.has_blob(blob.digest).await? {
            continue;
        }
        let from = mount_from(&layer.sources(&blob.digest), repository.reference());
        let Some(from) = from else { return Ok(false) };
        if !repository.mount_blob(blob.digest, &from).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// One push.
struct Push<'a> {
    repository: &'a Repository,
    image: &'a Arc<Outgoing>,
    lines: &'a Lines,
}

impl Push<'_> {
    async fn layers(&self, manifest: &Manifest) -> Result<(), Error> {
        let mut all: Vec<(&OutgoingLayer, &RemoteBlob)> = Vec::new();
        for (layer, blob) in self.image.layers.iter().zip(&manifest.layers) {
            if !all.iter().any(|(_, known)| known.digest == blob.digest) {
                all.push((layer, blob));
            }
        }
        // The client's own limit decides how many go at once.
        let most = all.len().max(1);
        let pushes: Vec<_> = all.into_iter().map(|(layer, blob)| self.layer(layer, blob)).collect();
        stream::iter(pushes).buffer_unordered(most).try_collect::<()>().await
    }

    async fn layer(&self, layer: &OutgoingLayer, blob: &RemoteBlob) -> Result<(), Error> {
        let id = short(&layer.diff_id);
        let descriptor = Descriptor::new(blob.media_type.clone(), blob.digest, blob.size);
        let source = LayerSource {
            image: Arc::clone(self.image),
            diff_id: layer.diff_id,
            digest: blob.digest,
            file: OnceCell::new(),
        };
        let target = self.repository.reference();
        let progress = self.progress(id, target);
        let from = mount_from(&layer.sources(&blob.digest), target);
        let how =
            self.repository.push_blob(&descriptor, &source, from.as_deref(), &progress).await?;
        tracing::debug!(digest = %blob.digest, ?how, "a layer is in the registry");
        let known = layer.sources(&blob.digest).contains(&target.repository());
        if how != How::Exists || !known {
            let (image, diff_id) = (Arc::clone(self.image), layer.diff_id);
            let (blob, target) = (blob.clone(), target.clone());
            blocking(move || image.learn(&diff_id, &blob, false, Some(&target))).await?;
        }
        Ok(())
    }

    fn progress(&self, id: String, target: &Reference) -> Progress {
        let (lines, hub) = (self.lines.clone(), target.domain() == "docker.io");
        Arc::new(move |event: Event| match event.status {
            // As Docker shows names of the Hub.
            Status::Mounted(from) if hub => {
                let name = from.strip_prefix("library/").unwrap_or(&from);
                lines.tell(id.clone(), format!("Mounted from {name}"));
            }
            _ => lines.event(&id, &event),
        })
    }

    async fn config(&self) -> Result<(), Error> {
        let bytes = Bytes::from(self.image.config.clone());
        let descriptor = Descriptor::new(OCI_CONFIG, self.image.id.0, bytes.len() as u64);
        let silent = linkspan_registry::silent();
        self.repository.push_blob(&descriptor, &bytes, None, &silent).await?;
        Ok(())
    }
}

/// A repository of the same registry that has, or had, the archive.
fn mount_from(sources: &[String], target: &Reference) -> Option<String> {
    let own = target.repository();
    let prefix = format!("{}/", target.domain());
    let others = sources.iter().filter(|source| **source != own);
    others.filter_map(|source| source.strip_prefix(&prefix)).next_back().map(str::to_owned)
}

/// The archive of a layer, made only when it is read.
struct LayerSource {
    image: Arc<Outgoing>,
    diff_id: Digest,
    digest: Digest,
    file: OnceCell<LayerFile>,
}

impl LayerSource {
    async fn path(&self) -> io::Result<PathBuf> {
        let make = || async {
            let (image, diff_id, digest) = (Arc::clone(&self.image), self.diff_id, self.digest);
            let made = tokio::task::spawn_blocking(move || image.file(&diff_id, &digest));
            made.await.map_err(io::Error::other)?.map_err(io::Error::other)
        };
        self.file.get_or_try_init(make).await.map(|file| file.path().to_owned())
    }
}

impl BlobSource for LayerSource {
    type Reader = tokio::fs::File;

    async fn open(&self, offset: u64) -> io::Result<Self::Reader> {
        self.path().await?.open(offset).await
    }
}

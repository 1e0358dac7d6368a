//! Pulling: documents, then the missing layers, several at once, then everything becomes visible.

use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use linkspan_images::{Digest, Platform, Receipt, Reference, RemoteBlob, RemoteImage};
use linkspan_registry::{Credentials, Descriptor, Fetched, Image, Progress, Repository};

use super::{Error, Lines, Registries, blocking, short};

/// A configuration is held in memory; Docker's limit.
const MAX_CONFIG: u64 = 8 << 20;

/// An image that was pulled, or found as it is in its registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// `sha256:...` of the configuration.
    pub id: String,
    /// What was asked for, with a tag or a digest.
    pub reference: Reference,
    /// Of the manifest, or of the index that it was chosen from.
    pub digest: Digest,
    /// It was there, and has not changed.
    pub up_to_date: bool,
}

impl Registries {
    /// All tags of a repository, as references.
    ///
    /// # Errors
    /// Of the registry; [`Error::Invalid`] for a reference that has a tag or a digest already.
    pub async fn tags(
        &self,
        repository: &Reference,
        credentials: &Credentials,
    ) -> Result<Vec<Reference>, Error> {
        if repository.tag().is_some() || repository.digest().is_some() {
            return Err(Error::Invalid("tag can't be used with --all-tags/-a".into()));
        }
        let tags = self.client().repository(repository, credentials.clone()).tags().await?;
        let named = |tag| Ok(Reference::parse(&format!("{}:{tag}", repository.repository()))?);
        tags.into_iter().map(named).collect()
    }

    /// Pulls an image: one with a tag or a digest; without both, `latest`. `wanted`: absent, this
    /// machine's platform. Dropping the future gives everything up.
    ///
    /// # Errors
    /// Of the registry and of the store.
    pub async fn pull(
        &self,
        reference: &Reference,
        wanted: Option<&Platform>,
        credentials: Credentials,
        lines: &Lines,
    ) -> Result<Pulled, Error> {
        let repository = self.client().repository(reference, credentials);
        let reference = repository.reference().clone();
        let shown = match reference.digest() {
            Some(digest) => digest.to_string(),
            None => reference.tag().unwrap_or_default().to_owned(),
        };
        let here = Platform::here();
        let image = repository.image(wanted.unwrap_or(&here)).await?;
        // Not before: Docker says nothing of a pull of what is not there.
        lines.tell(shown, format!("Pulling from {}", reference.path()));
        let digest = image.index.as_ref().unwrap_or(&image.manifest).digest;
        let (id, up_to_date) = match self.current(&reference, digest, &image).await? {
            Some(id) => (id, true),
            None => (self.fetch(&repository, image, wanted, lines).await?, false),
        };
        lines.tell("", format!("Digest: {digest}"));
        let name = reference.familiar();
        lines.tell(
            "",
            match up_to_date {
                true => format!("Status: Image is up to date for {name}"),
                false => format!("Status: Downloaded newer image for {name}"),
            },
        );
        Ok(Pulled { id, reference, digest, up_to_date })
    }

    /// The image, if the store has just this one under this name.
    async fn current(
        &self,
        reference: &Reference,
        digest: Digest,
        image: &Image,
    ) -> Result<Option<String>, Error> {
        let (store, reference, config) =
            (Arc::clone(self.store()), reference.clone(), image.config.digest);
        // Another platform of the same index is another image.
        blocking(move || {
            let id = store.is_current(&reference, digest).filter(|id| id.0 == config);
            Ok(id.map(|id| id.to_string()))
        })
        .await
    }

    async fn fetch(
        &self,
        repository: &Repository,
        image: Image,
        wanted: Option<&Platform>,
        lines: &Lines,
    ) -> Result<String, Error> {
        let kind = &image.config.media_type;
        if !kind.is_empty() && !kind.contains("image") {
            return Err(linkspan_images::Error::Unsupported {
                what: format!("`{}`", repository.reference().familiar()),
                why: format!("it is no image: its configuration is `{kind}`"),
            }
            .into());
        }
        let config = repository.blob_bytes(&image.config, MAX_CONFIG).await?;
        // An index was chosen from by platform; a manifest alone is what it is.
        if let (None, Some(wanted)) = (&image.index, wanted) {
            check_platform(repository.reference(), &config, wanted)?;
        }
        let blob = |layer: &Descriptor| RemoteBlob {
            digest: layer.digest,
            size: layer.size,
            media_type: layer.media_type.clone(),
        };
        let remote = RemoteImage {
            reference: repository.reference().clone(),
            layers: image.layers.iter().map(blob).collect(),
            index: image.index.map(|index| index.bytes.into()),
            manifest: image.manifest.bytes.into(),
            config: config.into(),
        };
        for layer in &image.layers {
            lines.tell(short(&layer.digest), "Pulling fs layer");
        }
        let store = Arc::clone(self.store());
        let receipt = Arc::new(blocking(move || store.receive(remote)).await?);
        let fetches = receipt.layers().iter().map(|(diff_id, blob)| {
            let receipt = Arc::clone(&receipt);
            async move { fetch_layer(repository, &receipt, *diff_id, blob, lines).await }
        });
        // The client's own limit decides how many download at once; a layer that waits for its
        // turn costs nothing.
        let fetches: Vec<_> = fetches.collect();
        let most = fetches.len().max(1);
        stream::iter(fetches).buffer_unordered(most).try_collect::<()>().await?;
        let image = {
            let receipt = Arc::clone(&receipt);
            blocking(move || receipt.publish()).await?
        };
        Ok(image.id.to_string())
    }
}

async fn fetch_layer(
    repository: &Repository,
    receipt: &Arc<Receipt>,
    diff_id: Digest,
    blob: &RemoteBlob,
    lines: &Lines,
) -> Result<(), Error> {
    let id = short(&blob.digest);
    if !receipt.is_missing(&diff_id) {
        lines.tell(id, "Already exists");
        return Ok(());
    }
    let descriptor = Descriptor::new(blob.media_type.clone(), blob.digest, blob.size);
    let progress: Progress = {
        let (id, lines) = (id.clone(), lines.clone());
        Arc::new(move |event| lines.event(&id, &event))
    };
    // Another call that fetches the same blob does it for its own image: one whose configuration
    // says something else of it.
    loop {
        let sink = super::sink::LayerSink::new(Arc::clone(receipt), diff_id);
        match repository.fetch_blob(&descriptor, sink, &progress).await? {
            Fetched::Here => break,
            Fetched::ByAnother => {}
        }
    }
    lines.bytes(id.clone(), "Extracting", blob.size, blob.size);
    lines.tell(id, "Pull complete");
    Ok(())
}

fn check_platform(reference: &Reference, config: &[u8], wanted: &Platform) -> Result<(), Error> {
    // One that cannot be read is refused by the store, by name.
    let Ok(is) = serde_json::from_slice::<Platform>(config) else { return Ok(()) };
    if is.os == wanted.os && is.architecture == wanted.architecture {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "image with reference {} was found but its platform ({is}) does not match the specified \
         platform ({wanted})",
        reference.familiar()
    )))
}

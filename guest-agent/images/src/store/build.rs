//! What a build needs: layers that no image has yet, images of layers that are there, and that
//! none of them goes meanwhile.

use std::collections::BTreeMap;
use std::io::{self, PipeReader, PipeWriter, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;

use crate::compression;
use crate::config::ConfigFile;
use crate::digest::{Digest, ImageId};
use crate::error::{Error, Result};
use crate::reference::Reference;
use crate::unpack;

use super::find::record;
use super::publish::NewImage;
use super::query::familiar;
use super::{LoadedImage, Store, WorkFolder, parse_tag};

/// Layers that stay while this lives, whoever removes images.
#[derive(Debug)]
pub struct Held {
    store: Arc<Store>,
    layers: Vec<Digest>,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.store.state.lock();
        for layer in &self.layers {
            if let Some(count) = state.pinned.get_mut(layer) {
                *count -= 1;
                if *count == 0 {
                    state.pinned.remove(layer);
                }
            }
        }
    }
}

/// An image that a build begins with.
#[derive(Debug)]
pub struct HeldImage {
    /// The digest of the configuration.
    pub id: ImageId,
    /// Diff ids, base first.
    pub layers: Vec<Digest>,
    /// The configuration blob as it is.
    pub config_json: Vec<u8>,
    /// Its layers stay.
    pub held: Held,
}

/// A layer that was made, and stays.
#[derive(Debug)]
pub struct MadeLayer {
    /// The digest of its tar.
    pub diff_id: Digest,
    /// Sum of the sizes of its files.
    pub size_bytes: u64,
    /// It stays.
    pub held: Held,
}

/// A folder in the store's temporary area, on the file system of the layers. It goes with its
/// value, and what is left of it at the next [`Store::open`].
#[derive(Debug)]
pub struct Scratch(WorkFolder);

impl Scratch {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

/// Its end counts only when its writer has said that it is one: a layer that breaks off in the
/// middle must not become one.
struct Whole {
    pipe: PipeReader,
    complete: mpsc::Receiver<bool>,
    ended: bool,
}

impl Read for Whole {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.pipe.read(buffer)? {
            0 if buffer.is_empty() || self.ended => Ok(0),
            0 => {
                self.ended = self.complete.recv().unwrap_or(false);
                if self.ended { Ok(0) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
            }
            length => Ok(length),
        }
    }
}

impl Store {
    /// Keeps these layers; None when one of them is not there.
    #[must_use]
    pub fn hold(self: &Arc<Self>, layers: &[Digest]) -> Option<Held> {
        let mut state = self.state.lock();
        if !layers.iter().all(|layer| state.index.layers.contains_key(layer)) {
            return None;
        }
        for layer in layers {
            *state.pinned.entry(*layer).or_default() += 1;
        }
        Some(Held { store: Arc::clone(self), layers: layers.to_vec() })
    }

    /// Finds an image, as [`Store::resolve`] does, and keeps its layers.
    ///
    /// # Errors
    /// As [`Store::resolve`].
    pub fn hold_image(self: &Arc<Self>, name: &str) -> Result<HeldImage> {
        let not_found = || Error::NotFound { name: name.to_owned() };
        let id = self.resolve(name)?.id;
        let layers = record(&self.state.lock().index, id)?.layers.clone();
        let held = self.hold(&layers).ok_or_else(not_found)?;
        let (_, config_json) = self.read_config(id)?;
        Ok(HeldImage { id, layers, config_json, held })
    }

    /// Makes a layer of the tar that `write` writes. It is there for good when this returns, and no
    /// image has it: [`Store::collect`] removes it unless somebody says that it is in use.
    ///
    /// # Errors
    /// What `write` says; otherwise as [`Store::import`].
    pub fn make_layer<E: From<Error>>(
        self: &Arc<Self>,
        what: &str,
        write: impl FnOnce(PipeWriter) -> Result<(), E>,
    ) -> Result<MadeLayer, E> {
        let no_pipe =
            |error| Error::Io { action: "make", path: PathBuf::from("a pipe"), source: error };
        let (pipe, out) = io::pipe().map_err(no_pipe)?;
        let (verdict, complete) = mpsc::channel();
        let input = Whole { pipe, complete, ended: false };
        let (staged, written) = std::thread::scope(|scope| {
            let staging = scope.spawn(|| {
                self.stage(what, |folder, limits| {
                    let input = compression::plain(input);
                    unpack::unpack(input, folder, limits, &mut |_| {})
                })
            });
            let written = write(out);
            // Without a reader the layer has failed already.
            let _ = verdict.send(written.is_ok());
            (staging.join(), written)
        });
        let staged = staged.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let (diff_id, staged) = match (staged, written) {
            (Ok(staged), Ok(())) => staged,
            // The reader's word counts when the writer only noticed that it had gone.
            (Err(error), Ok(())) => return Err(error.into()),
            (Err(Error::Read { .. }) | Ok(_), Err(error)) => return Err(error),
            (Err(error), Err(_)) => return Err(error.into()),
        };
        let size_bytes = staged.record.size_bytes;
        let claim = self.claim([diff_id]);
        let missing = claim.missing.contains(&diff_id);
        let staged = missing.then_some((diff_id, staged));
        self.publish(&claim, staged.into_iter().collect::<BTreeMap<_, _>>(), &[])?;
        let held = self.hold(&[diff_id]);
        drop(claim);
        let gone = || Error::corrupt(format!("layer {diff_id}"), "it is missing");
        Ok(MadeLayer { diff_id, size_bytes, held: held.ok_or_else(gone)? })
    }

    /// Makes an image of layers that are there.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when one is missing or the configuration is none;
    /// [`Error::InvalidReference`].
    pub fn make_image(&self, config_json: Vec<u8>, tags: &[String]) -> Result<LoadedImage> {
        let config = ConfigFile::parse(&config_json, "the new configuration")?;
        let tags = tags.iter().map(|tag| parse_tag(tag)).collect::<Result<Vec<_>>>()?;
        let id = ImageId(Digest::of(&config_json));
        if self.is_there(id, &config_json, &tags) {
            return Ok(LoadedImage { id, tags: familiar(&tags) });
        }
        let claim = self.claim(config.rootfs.diff_ids.iter().copied());
        let image =
            NewImage { id, config, config_json, manifest: None, tags, origin: None, parent: None };
        self.publish(&claim, BTreeMap::new(), std::slice::from_ref(&image))?;
        Ok(LoadedImage { id, tags: familiar(&image.tags) })
    }

    /// Whether the image is there, under these names: then a build that changed nothing need not wait for
    /// the disk.
    fn is_there(&self, id: ImageId, config_json: &[u8], tags: &[Reference]) -> bool {
        let named = {
            let index = &self.state.lock().index;
            index.images.contains_key(&id)
                && tags.iter().all(|tag| index.references.get(tag) == Some(&id))
        };
        // Of a damaged one the documents are written anew.
        named && std::fs::read(self.paths.blob(&id.0)).is_ok_and(|bytes| bytes == config_json)
    }

    /// Folders for overlayfs' `lowerdir`, base first; never empty.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when one is missing.
    pub fn layer_folders(&self, layers: &[Digest]) -> Result<Vec<PathBuf>> {
        let visible = self.state.lock().index.visible(layers).to_vec();
        self.layer_paths(&visible)
    }

    /// Whether an image has this layer.
    #[must_use]
    pub fn is_of_image(&self, layer: &Digest) -> bool {
        self.state.lock().index.is_used(layer)
    }

    /// Whether somebody counts on this layer now.
    #[must_use]
    pub fn is_held(&self, layer: &Digest) -> bool {
        self.state.lock().pinned.contains_key(layer)
    }

    /// A new folder that goes with its value.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::NoSpace`].
    pub fn scratch(&self, purpose: &str) -> Result<Scratch> {
        self.work_folder(purpose).map(Scratch)
    }
}

/// Checks names that an image is to have.
///
/// # Errors
/// [`Error::InvalidReference`].
pub fn check_tags(tags: &[String]) -> Result<()> {
    tags.iter().try_for_each(|tag| parse_tag(tag).map(drop))
}

/// Whether a file is a tar, plain or compressed as [`Store::load`] takes it: what ADD unpacks. One that cannot be
/// looked into says why when it is unpacked.
#[must_use]
pub fn is_archive(file: impl Read + Send) -> bool {
    const BLOCK: usize = 512;
    const CHECKSUM: std::ops::Range<usize> = 148..156;
    let Ok(input) = compression::open(file, "the archive") else { return true };
    let mut head = Vec::with_capacity(BLOCK);
    match input.take(BLOCK as u64).read_to_end(&mut head) {
        Ok(_) if head.len() < BLOCK => return false,
        Ok(_) => {}
        Err(error) => return !compression::is_corrupt(&error),
    }
    let text = String::from_utf8_lossy(&head[CHECKSUM]).into_owned();
    let Ok(said) = u32::from_str_radix(text.trim_matches(['\0', ' ']), 8) else { return false };
    // The field itself counts as blanks (POSIX.1-2008, pax).
    let blank = |at: usize, byte: u8| if CHECKSUM.contains(&at) { b' ' } else { byte };
    let sum: u32 = head.iter().enumerate().map(|(at, byte)| u32::from(blank(at, *byte))).sum();
    sum == said
}

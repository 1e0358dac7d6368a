//! Container images on one folder: references, archives, unpacked layers.
//!
//! Owns everything below the folder given to [`Store::open`] (in the VM `/var/lib/linkspan/images`)
//! and is called by the agent's image service and by `containers`. All calls are synchronous and
//! may take long: run them on a thread for blocking work. A [`Store`] locks for itself; share it
//! behind an `Arc`.
//!
//! ```text
//! index.json             which images, references and layers exist (format version inside)
//! blobs/sha256/<hex>     configurations, manifests and compressed layers, byte for byte
//! recipes/<hex>          how the tar of a layer is made again from its files (see `recipe`)
//! layers/<hex>/          one unpacked layer each, named by its diff id, with overlayfs' whiteouts
//! l/<16 hex>             links to the layers: short enough for a hundred of them in one mount call
//! empty/                 the lower layer of an image without layers
//! tmp/                   everything unfinished; emptied when the store is opened
//! lock                   held while a store is open
//! reserve                room kept back, so that images can be removed when the disk is full
//! ```
//!
//! A layer is shared by all images that contain it. Overlayfs stacks layers, so a layer's folder
//! depends on nothing but its own archive, and its diff id names it.
//!
//! Each layer can be given back byte for byte, so that what is pushed or saved has the digests
//! that it came with. One that came compressed keeps its archive as it came. One that came plain,
//! or was made here, keeps a recipe: headers and paddings as they were, and for contents where in
//! its folder they lie; a copy of its tar would cost the disk twice. It is compressed anew for each
//! push, always to the same bytes. Layers of format 1 of the index have neither; they are completed
//! when their image is pulled or loaded again.
//!
//! An image exists from the moment when `index.json` names it, which is a rename: a load that ends
//! anywhere before leaves nothing but files in `tmp/` and layers that the index does not know; the
//! next [`Store::open`] removes both.
//!
//! Deliberately absent: the registry client, building, and mounting (`linkspan-init` mounts the
//! overlay inside the container's own mount namespace).

#![forbid(unsafe_code)]

mod archive;
mod changes;
mod commit;
mod compression;
mod config;
mod digest;
mod error;
mod filter;
mod import;
mod manifest;
mod packing;
mod platform;
mod recipe;
mod reference;
mod store;
mod tarball;
mod unpack;

pub use changes::absolute_path;
pub use commit::CommitOptions;
pub use config::{ExecConfig, Healthcheck, HistoryEntry};
pub use digest::{Digest, DigestError, ImageId};
pub use error::{Conflict, Error, Result};
pub use filter::{ImageFilters, moment};
pub use import::ImportOptions;
pub use packing::{LayerCompression, Packing};
pub use platform::Platform;
pub use reference::{Reference, ReferenceError};
pub use store::{
    ArchiveFormat, ContainerUse, DiskUsage, Held, HeldImage, Image, ImageDetail, ImageSummary,
    LayerFile, ListFilter, LoadedImage, MadeLayer, Manifest, ManifestInfo, Options, Outgoing,
    OutgoingLayer, Phase, Progress, Receipt, RemoteBlob, RemoteImage, RemoveOptions, Removed,
    RemovedImage, Scratch, Store, Usage, check_tags, is_archive,
};
pub use unpack::{CopyIn, Limits, MapIds, copy_in};

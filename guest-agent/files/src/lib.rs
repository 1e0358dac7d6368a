//! Trees of files of containers: a stack of layers seen as one without mounting it, and copying.
//!
//! Synchronous, and may take long. Names in a container are never resolved in the VM: every step
//! is taken from an open folder, and symbolic links are followed within the tree only
//! ([`Folder::find`]).
//!
//! - [`merged`]: what overlayfs would show of some layers
//! - [`copy`]: a tree into a folder, with owners, times and attributes
//! - [`changes`]: how a layer differs from those below
//! - [`archive`]: a tree, or a layer, as tar
//!
//! Knows nothing of containers or images; `containers` says which layers there are.

pub mod archive;
pub mod changes;
pub mod copy;
mod error;
pub mod merged;

pub use archive::Archive;
pub use error::{Error, Result};
pub use merged::{Folder, Leaf, Node};
pub use rustix::fs::FileType;

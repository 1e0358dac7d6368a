//! Contexts that come as a whole: a tar on a byte stream, or what is at a URL.

use std::{
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use linkspan_build::ignore_files;
use linkspan_images::{CopyIn, Limits, Scratch, Store, copy_in, is_archive};
use linkspan_proto::{
    error::{ErrorCode, Failure},
    v1::BuildOpen,
};

use crate::{failure::of_store, registries::Downloaded};

/// A Dockerfile is read into memory.
const LONGEST: u64 = 64 << 20;
const FOLDER: &str = "context";

/// A context that was unpacked; it goes with its value.
pub(super) struct Unpacked(Scratch);

impl Unpacked {
    pub(super) fn root(&self) -> PathBuf {
        self.0.path().join(FOLDER)
    }
}

fn io(what: &str, path: &Path) -> impl FnOnce(std::io::Error) -> Failure {
    let text = format!("cannot {what} `{}`", path.display());
    move |error| Failure::new(ErrorCode::Internal, format!("{text}: {error}"))
}

/// Unpacks a tar, plain or compressed.
pub(super) fn unpack(store: &Arc<Store>, archive: impl Read + Send) -> Result<Unpacked, Failure> {
    let scratch = store.scratch("context").map_err(|error| of_store(&error))?;
    into(scratch, archive)
}

/// Unpacks a file that was fetched, beside it.
pub(super) fn unpack_file(file: Downloaded) -> Result<Unpacked, Failure> {
    let path = file.path();
    let archive = File::open(&path).map_err(io("open", &path))?;
    into(file.into_folder(), archive)
}

fn into(scratch: Scratch, archive: impl Read + Send) -> Result<Unpacked, Failure> {
    let unpacked = Unpacked(scratch);
    let root = unpacked.root();
    fs::create_dir(&root).map_err(io("create", &root))?;
    let opened = File::open(&root).map_err(io("open", &root))?;
    copy_in(archive, opened.into(), Path::new("/"), CopyIn::default(), None, &Limits::default())
        .map_err(|error| of_store(&error))?;
    Ok(unpacked)
}

/// A file that is no archive is a Dockerfile.
pub(super) fn text_of(path: &Path) -> Result<Option<String>, Failure> {
    if is_archive(File::open(path).map_err(io("open", path))?) {
        return Ok(None);
    }
    read_text(path).map(Some)
}

fn read_text(path: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let file = File::open(path).map_err(io("open", path))?;
    file.take(LONGEST).read_to_string(&mut text).map_err(io("read", path))?;
    Ok(text)
}

/// The Dockerfile and the .dockerignore that are among the files.
pub(super) fn read_dockerfile(unpacked: &Unpacked, open: &mut BuildOpen) -> Result<(), Failure> {
    let name = Some(open.dockerfile_name.clone()).filter(|name| !name.is_empty());
    let name = name.unwrap_or_else(|| "Dockerfile".to_owned());
    let Some(path) = inside(unpacked, &name) else {
        return Err(Failure::new(
            ErrorCode::NotFound,
            format!("there is no `{name}` in the build context"),
        ));
    };
    open.dockerfile = read_text(&path)?;
    for ignore in ignore_files(&name) {
        if let Some(path) = inside(unpacked, &ignore) {
            open.ignore = read_text(&path)?;
            open.ignore_name = ignore;
            break;
        }
    }
    open.dockerfile_name = name;
    Ok(())
}

/// A file of the context, wherever links in it lead.
fn inside(unpacked: &Unpacked, name: &str) -> Option<PathBuf> {
    let root = unpacked.root().canonicalize().ok()?;
    let path = root.join(name.trim_start_matches('/')).canonicalize().ok()?;
    (path.starts_with(&root) && path.is_file()).then_some(path)
}

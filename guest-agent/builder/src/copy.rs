//! COPY, ADD and WORKDIR: what they add.
//!
//! The times of what is made here (folders on the way, heredocs, downloads) are the build's epoch or
//! 1970, and never the clock's: the same files always make the same layer.

use std::fs::File;
use std::path::{Path, PathBuf};

use linkspan_build::{CopyStep, FolderStep, Ignore, ModeChange, Source};
use linkspan_files::Folder;
use linkspan_files::archive::Attributes;
use linkspan_images::{CopyIn, Limits, Scratch, copy_in, is_archive};

use crate::context;
use crate::error::{Error, Result};
use crate::layer::Layer;
use crate::tree::{Match, Node, Tree, What, walk_files};
use crate::users;

/// What a COPY needs of its surroundings.
pub(crate) struct Around<'a> {
    /// The files below; None with --link, and on nothing.
    pub(crate) below: Option<&'a Folder>,
    /// SOURCE_DATE_EPOCH.
    pub(crate) epoch: Option<i64>,
    /// Gives the files of a source.
    pub(crate) tree: &'a dyn Fn(&Source) -> Result<Tree<'a>>,
    /// Downloads a file.
    pub(crate) fetch: &'a dyn Fn(&str, Option<&str>) -> Result<PathBuf>,
    /// A folder for what is unpacked.
    pub(crate) scratch: &'a Scratch,
}

struct Copying<'a, 'b> {
    step: &'a CopyStep,
    around: &'a Around<'b>,
    layer: Layer<'b>,
    excludes: Ignore,
    /// None: it stays as it is. What comes from a context, a URL or the Dockerfile is root's.
    owner: Option<(u32, u32)>,
    destination: PathBuf,
    unpacked: usize,
}

/// The layer of a COPY or ADD.
pub(crate) fn copy<'b>(step: &CopyStep, around: &Around<'b>) -> Result<Layer<'b>> {
    let owner =
        step.owner.as_deref().map(|owner| users::lookup(around.below, owner)).transpose()?;
    let (uid, gid) = owner.unwrap_or((0, 0));
    let modified = around.epoch.unwrap_or(0);
    let layer = Layer::new(around.below, Attributes { mode: 0o755, uid, gid, modified });
    let destination = layer.resolve(&step.destination)?;
    // The planner has read them.
    let excludes = Ignore::of(&step.excludes).unwrap_or_default();
    let mut copying = Copying { step, around, layer, excludes, owner, destination, unpacked: 0 };
    for source in &step.sources {
        copying.source(source)?;
    }
    Ok(copying.layer)
}

/// The layer of a WORKDIR.
pub(crate) fn folder<'b>(
    step: &FolderStep,
    below: Option<&'b Folder>,
    epoch: Option<i64>,
) -> Result<Layer<'b>> {
    let (uid, gid) = users::lookup(below, &step.owner)?;
    let how = Attributes { mode: 0o755, uid, gid, modified: epoch.unwrap_or(0) };
    let mut layer = Layer::new(below, how);
    let path = layer.resolve(&step.path)?;
    if !layer.has_folder(&path)? {
        layer.make_folder(&path)?;
    }
    Ok(layer)
}

impl Copying<'_, '_> {
    fn source(&mut self, source: &Source) -> Result<()> {
        match source {
            Source::Inline { name, content } => {
                let target = self.target(name)?;
                let how = self.dress(Attributes { mode: 0o644, ..self.plain() }, false);
                self.layer.put_inline(&target, how, content.clone().into_bytes())
            }
            Source::Url { url, name, checksum, unpack } => {
                let file = (self.around.fetch)(url, checksum.as_deref())?;
                let size = std::fs::metadata(&file).map_err(Error::io("look at", &file))?.len();
                if *unpack && self.archive(&file)? {
                    return Ok(());
                }
                let target = self.target(name)?;
                let how = Attributes { mode: 0o600, ..self.plain() };
                let what = What::Stored { size, digest: String::new(), content: file };
                self.put(&target, Node { how, what })
            }
            Source::Files { path, parents, unpack, .. } => {
                let tree = (self.around.tree)(source)?;
                match parents {
                    None => {
                        for found in tree.matches(path)? {
                            self.one(&tree, &found, *unpack)?;
                        }
                    }
                    Some(pattern) => self.with_parents(&tree, path, pattern)?,
                }
                Ok(())
            }
            Source::Git { .. } => Err(Error::Unsupported {
                what: "ADD of a git repository".to_owned(),
                why: "there is no git in the machine",
            }),
        }
    }

    /// Of what has no attributes of its own.
    fn plain(&self) -> Attributes {
        let modified = self.around.epoch.unwrap_or(0);
        Attributes { mode: 0o755, uid: 0, gid: 0, modified }
    }

    /// Owner, mode and time as the instruction has them.
    fn dress(&self, how: Attributes, is_folder: bool) -> Attributes {
        let (uid, gid) = self.owner.unwrap_or((how.uid, how.gid));
        let change = |mode: &ModeChange| mode.apply(how.mode, is_folder);
        Attributes {
            mode: self.step.mode.as_ref().map_or(how.mode, change),
            uid,
            gid,
            modified: self.around.epoch.unwrap_or(how.modified),
        }
    }

    fn put(&mut self, path: &Path, node: Node) -> Result<()> {
        let how = self.dress(node.how, node.is_folder());
        self.layer.put(path, Node { how, ..node })
    }

    /// Where a file goes.
    fn target(&mut self, name: &str) -> Result<PathBuf> {
        let into = self.step.into_folder || self.layer.has_folder(&self.destination.clone())?;
        Ok(if into { self.destination.join(name) } else { self.destination.clone() })
    }

    fn one(&mut self, tree: &Tree<'_>, found: &Match, unpack: bool) -> Result<()> {
        if found.node.is_folder() {
            let to = self.destination.clone();
            // Only the contents are copied: a folder that is made for them is any folder that is made.
            self.layer.make_folder(&to)?;
            return self.contents(tree, found, &to);
        }
        if unpack
            && let Some(file) = found.node.open()?
            && is_archive(&file)
        {
            let again = found.node.open()?;
            return self.unpack(again.as_ref().unwrap_or(&file));
        }
        let name = found.path.rsplit('/').next().unwrap_or_default();
        if self.excludes.ignores(name) {
            return Ok(());
        }
        let target = self.target(name)?;
        self.put(&target, found.node.clone())
    }

    fn contents(&mut self, tree: &Tree<'_>, found: &Match, to: &Path) -> Result<()> {
        let excludes = self.excludes.clone();
        tree.walk(found, &excludes, &mut |path, node| self.put(&to.join(path), node))
    }

    /// `--parents`: the folders below `base` are kept.
    fn with_parents(&mut self, tree: &Tree<'_>, base: &str, pattern: &str) -> Result<()> {
        let base = base.trim_matches('/');
        for found in tree.matches(&context::join(base, pattern))? {
            let relative = found.path[base.len()..].trim_start_matches('/').to_owned();
            if self.excludes.ignores(&relative) {
                continue;
            }
            let above: Vec<usize> = relative.match_indices('/').map(|(at, _)| at).collect();
            for end in above {
                let folder = &relative[..end];
                let to = self.destination.join(folder);
                for parent in tree.matches(&context::join(base, folder))? {
                    self.put(&to, parent.node)?;
                }
            }
            let to = self.destination.join(&relative);
            self.put(&to, found.node.clone())?;
            if found.node.is_folder() {
                self.contents(tree, &found, &to)?;
            }
        }
        Ok(())
    }

    fn archive(&mut self, path: &Path) -> Result<bool> {
        let open = || File::open(path).map_err(Error::io("open", path));
        if !is_archive(open()?) {
            return Ok(false);
        }
        self.unpack(&open()?).map(|()| true)
    }

    /// Unpacks beside the layer, so that what is in the archive meets what is below as any copy does.
    fn unpack(&mut self, archive: &File) -> Result<()> {
        let place = self.around.scratch.path().join(format!("unpacked-{}", self.unpacked));
        self.unpacked += 1;
        std::fs::create_dir(&place).map_err(Error::io("create", &place))?;
        let root = File::open(&place).map_err(Error::io("open", &place))?;
        copy_in(
            archive,
            root.into(),
            Path::new("/"),
            CopyIn { keep_owner: true, ..CopyIn::default() },
            None,
            &Limits::default(),
        )?;
        let files = Folder::of_layers(&[&place])?;
        let to = self.destination.clone();
        self.layer.make_folder(&to)?;
        let (owner, epoch, mode) = (self.owner, self.around.epoch, self.step.mode.clone());
        walk_files(&files, Path::new(""), &Ignore::default(), &mut |path, node| {
            let mut how = node.how;
            if let Some((uid, gid)) = owner {
                (how.uid, how.gid) = (uid, gid);
            }
            how.modified = epoch.unwrap_or(how.modified);
            if let Some(mode) = &mode {
                how.mode = mode.apply(how.mode, node.is_folder());
            }
            self.layer.put(&to.join(path), Node { how, ..node })
        })
    }
}

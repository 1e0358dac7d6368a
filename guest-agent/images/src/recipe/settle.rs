//! Recipes of layers in which something was replaced: the last entry of a name wins, and what the
//! first one brought is needed for the tar all the same.

use std::collections::HashMap;
use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::error::{Context as _, Result};

use super::read::{Folder, Record, Records};
use super::{MAX_RAW, Part, Writer};

/// Writes a recipe anew: paths lead to where the files are now, and the contents of files that
/// lie in `trash` are in the recipe itself.
pub(crate) fn settle(recipe: &Path, root: &Path, trash: &Path) -> Result<()> {
    let fresh = recipe.with_extension("settled");
    let mut records = Records::open(recipe)?;
    let mut writer = Writer::create(&fresh)?;
    let folder = Folder::open(root)?;
    let mut places: Option<HashMap<u64, PathBuf>> = None;
    loop {
        let part = match records.next()? {
            Record::Raw(bytes) => {
                writer.take(&bytes);
                continue;
            }
            Record::End(_) => break,
            Record::Part(part) => part,
        };
        let at_its_path = folder
            .file(&part.path)
            .ok()
            .and_then(|file| file.metadata().ok())
            .is_some_and(|metadata| metadata.ino() == part.inode);
        if at_its_path {
            copy_part(&mut writer, &part, &part.path);
            continue;
        }
        let places = match &mut places {
            Some(places) => places,
            none => none.insert(find_all(root, trash)?),
        };
        let Some(place) = places.get(&part.inode) else {
            return Err(records.corrupt("a file of it has vanished"));
        };
        match place.strip_prefix(root) {
            Ok(path) => copy_part(&mut writer, &part, path.as_os_str().as_bytes()),
            Err(_) => copy_contents(&mut writer, &part, place)?,
        }
    }
    writer.finish()?;
    fs::rename(&fresh, recipe).context("replace", recipe)
}

fn copy_part(writer: &mut Writer, part: &Part, path: &[u8]) {
    writer.flush();
    writer.total += part.length;
    writer.put_part(&Part { path: path.to_vec(), ..part.clone() });
}

fn copy_contents(writer: &mut Writer, part: &Part, place: &Path) -> Result<()> {
    let mut file = fs::File::open(place).context("open", place)?;
    file.seek(SeekFrom::Start(part.offset)).context("read", place)?;
    let mut left = part.length;
    let mut buffer = vec![0; MAX_RAW];
    while left > 0 {
        let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        file.read_exact(&mut buffer[..most]).context("read", place)?;
        writer.take(&buffer[..most]);
        left -= most as u64;
    }
    Ok(())
}

/// All files by inode. One with several names has any of them; one in the layer is preferred.
fn find_all(root: &Path, trash: &Path) -> Result<HashMap<u64, PathBuf>> {
    let mut places = HashMap::new();
    for top in [trash, root] {
        let mut folders = vec![top.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).context("read", &folder)? {
                let path = entry.context("read", &folder)?.path();
                let metadata = fs::symlink_metadata(&path).context("look at", &path)?;
                if metadata.is_dir() {
                    folders.push(path);
                } else if metadata.is_file() {
                    places.insert(metadata.ino(), path);
                }
            }
        }
    }
    Ok(places)
}

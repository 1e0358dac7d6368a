//! How much files take. Docker's rule (`pkg/directory`): the length of every file, holes included, a
//! file with several names once, folders nothing.

use std::{collections::HashSet, os::unix::fs::MetadataExt as _, path::Path};

use crate::{Containers, Error, container::blocking};

/// Bytes of the files under a folder. What cannot be read counts nothing: the figure is only told to
/// people. Blocks.
#[must_use]
pub fn of_files(folder: &Path) -> u64 {
    let (mut total, mut seen) = (0, HashSet::new());
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            // Of the entry itself: a link is not followed.
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                folders.push(entry.path());
            } else if metadata.nlink() == 1 || seen.insert((metadata.dev(), metadata.ino())) {
                total += metadata.len();
            }
        }
    }
    total
}

impl Containers {
    /// Bytes that a container has written into its own layer.
    ///
    /// # Errors
    /// When there is no such container.
    pub async fn written(&self, who: &str) -> Result<u64, Error> {
        let layer = self.find(who)?.folder.path().join("upper");
        Ok(blocking(move || of_files(&layer)).await)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_counts_once_and_a_folder_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("below")).unwrap();
        fs::write(path("a"), "12345").unwrap();
        fs::hard_link(path("a"), path("below/b")).unwrap();
        fs::write(path("below/c"), "123").unwrap();
        fs::File::create(path("hole")).unwrap().set_len(100).unwrap();
        assert_eq!(of_files(folder.path()), 108);
        assert_eq!(of_files(&path("nothing")), 0);
    }
}

//! A line of a case becomes a file.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

/// All files are of this time: what is built of them has the same digests each time.
const TIME: Duration = Duration::from_secs(2_000_000);

pub(crate) fn write(folder: &Path, line: &str) {
    let make = |path: &str| {
        let path = folder.join(path);
        let above = path.parent().expect("it is in the context");
        if !above.exists() {
            fs::create_dir_all(above).expect("a folder");
            let made = above.ancestors().take_while(|above| *above != folder);
            made.for_each(|folder| mode_of(folder, 0o755));
        }
        path
    };
    if let Some((path, target)) = line.split_once(" -> ") {
        symlink(target, make(path)).expect("a link");
    } else if let Some((path, members)) = line.split_once(" < ") {
        file(&make(path), 0o644, &tar_of(members));
    } else if let Some((path, mode)) = line.split_once("/ ").filter(|_| !line.contains(':')) {
        let path = make(path);
        fs::create_dir_all(&path).expect("a folder");
        mode_of(&path, octal(mode));
    } else {
        let (path, text) = line.split_once(':').unwrap_or_else(|| panic!("`{line}` is no file"));
        let (path, mode) = match path.rsplit_once(' ') {
            Some((path, mode)) if u32::from_str_radix(mode, 8).is_ok() => (path, mode),
            _ => (path, "644"),
        };
        file(&make(path), octal(mode), &bytes(text.strip_prefix(' ').unwrap_or(text)));
    }
}

fn file(path: &Path, mode: u32, content: &[u8]) {
    fs::write(path, content).expect("a file");
    let file = File::options().write(true).open(path).expect("a file");
    file.set_modified(UNIX_EPOCH + TIME).expect("a time");
    mode_of(path, mode);
}

fn octal(mode: &str) -> u32 {
    u32::from_str_radix(mode, 8).expect("octal digits")
}

fn mode_of(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("a mode");
}

fn bytes(text: &str) -> Vec<u8> {
    text.replace("\\n", "\n").into_bytes()
}

/// `PATH=TEXT`, with blanks between.
fn tar_of(members: &str) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for member in members.split(' ') {
        let (path, text) = member.split_once('=').expect("PATH=TEXT");
        let text = bytes(text);
        let mut header = tar::Header::new_ustar();
        header.set_size(text.len() as u64);
        header.set_mode(0o640);
        header.set_uid(5);
        header.set_gid(6);
        header.set_mtime(TIME.as_secs());
        tar.append_data(&mut header, path, &text[..]).expect("a member");
    }
    tar.into_inner().expect("a tar in memory")
}

//! Names of users and groups, looked up in the files of an image (passwd(5), group(5)).

use std::io::Read as _;
use std::path::Path;

use linkspan_files::{Folder, Node};

use crate::error::{Error, Result};

/// Larger than any real one.
const LIMIT: u64 = 16 << 20;

/// Who `USER[:GROUP]` is; empty: root. Without a group it is the user's own, or the one with the
/// user's number.
pub(crate) fn lookup(root: Option<&Folder>, text: &str) -> Result<(u32, u32)> {
    let (user, group) = text.split_once(':').map_or((text, ""), |(user, group)| (user, group));
    let (uid, own_gid) = match user.parse::<u32>() {
        _ if user.is_empty() => (0, 0),
        Ok(uid) => (uid, uid),
        Err(_) => {
            let fields = entry(root, "/etc/passwd", user)?;
            let found =
                fields.and_then(|f| Some((f.get(2)?.parse().ok()?, f.get(3)?.parse().ok()?)));
            found.ok_or_else(|| no_such("user", user, "/etc/passwd"))?
        }
    };
    let gid = match group.parse::<u32>() {
        _ if group.is_empty() => own_gid,
        Ok(gid) => gid,
        Err(_) => {
            let fields = entry(root, "/etc/group", group)?;
            let found = fields.and_then(|fields| fields.get(2)?.parse().ok());
            found.ok_or_else(|| no_such("group", group, "/etc/group"))?
        }
    };
    Ok((uid, gid))
}

fn no_such(what: &'static str, name: &str, file: &'static str) -> Error {
    Error::NoSuchName { what, name: name.to_owned(), file }
}

/// The fields of the line that begins with a name.
fn entry(root: Option<&Folder>, file: &str, name: &str) -> Result<Option<Vec<String>>> {
    let Some(root) = root else { return Ok(None) };
    let Some(Node::Leaf(leaf)) = root.find(Path::new(file), true)? else { return Ok(None) };
    let mut bytes = Vec::new();
    let opened = std::fs::File::from(leaf.open()?);
    opened.take(LIMIT).read_to_end(&mut bytes).map_err(Error::io("read", file))?;
    let text = String::from_utf8_lossy(&bytes);
    let fields = text.lines().map(|line| line.split(':').map(str::to_owned).collect::<Vec<_>>());
    Ok(fields.into_iter().find(|fields| fields.first().is_some_and(|first| first == name)))
}

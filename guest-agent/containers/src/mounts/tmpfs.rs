//! Options of a tmpfs: Docker's `--tmpfs` and `--mount type=tmpfs`.

use serde::{Deserialize, Serialize};

/// A tmpfs to be mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tmpfs {
    /// Options of tmpfs(5), comma separated.
    pub data: String,
    /// Programs can be executed.
    pub exec: bool,
    /// Set-user-id bits count.
    pub suid: bool,
    /// Device nodes work.
    pub dev: bool,
    /// Nothing can be written.
    pub read_only: bool,
}

/// Options that tmpfs itself reads (tmpfs(5)), as Docker lets them through.
const DATA: &[&str] = &["size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol", "huge"];
/// What a tmpfs does anyway, or what makes no difference to one.
const WITHOUT_EFFECT: &[&str] = &[
    "rw",
    "noexec",
    "nosuid",
    "nodev",
    "async",
    "relatime",
    "norelatime",
    "defaults",
    "private",
    "rprivate",
];

impl Tmpfs {
    /// Docker's defaults (noexec, nosuid, nodev), then these options, the last of a kind winning.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(crate) fn parse(options: &str) -> Result<Self, String> {
        let mut data: Vec<(&str, &str)> = Vec::new();
        let mut tmpfs =
            Self { data: String::new(), exec: false, suid: false, dev: false, read_only: false };
        for option in options.split(',').filter(|option| !option.is_empty()) {
            match option.split_once('=') {
                Some((key, value)) if DATA.contains(&key) => {
                    if !is_valid(key, value) {
                        return Err(format!("`{value}` is not a value for `{key}`"));
                    }
                    data.retain(|(known, _)| *known != key);
                    data.push((key, value));
                }
                None => match option {
                    "exec" => tmpfs.exec = true,
                    "noexec" => tmpfs.exec = false,
                    "suid" => tmpfs.suid = true,
                    "nosuid" => tmpfs.suid = false,
                    "dev" => tmpfs.dev = true,
                    "nodev" => tmpfs.dev = false,
                    "ro" => tmpfs.read_only = true,
                    "rw" => tmpfs.read_only = false,
                    other if WITHOUT_EFFECT.contains(&other) => {}
                    other => return Err(format!("invalid tmpfs option [\"{other}\"]")),
                },
                Some(_) => return Err(format!("invalid tmpfs option [\"{option}\"]")),
            }
        }
        let data: Vec<String> = data.iter().map(|(key, value)| format!("{key}={value}")).collect();
        tmpfs.data = data.join(",");
        Ok(tmpfs)
    }
}

/// The kernel would say only that something is wrong, and only at the start.
fn is_valid(key: &str, value: &str) -> bool {
    match key {
        "mode" => u32::from_str_radix(value, 8).is_ok_and(|mode| mode <= 0o7777),
        "uid" | "gid" => value.parse::<u32>().is_ok(),
        "size" | "nr_inodes" | "nr_blocks" => {
            let number = value.strip_suffix(['k', 'K', 'm', 'M', 'g', 'G', '%']).unwrap_or(value);
            number.parse::<u64>().is_ok()
        }
        _ => !value.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_override_dockers_defaults() {
        let plain = Tmpfs::parse("").unwrap();
        assert!(!plain.exec && !plain.suid && !plain.dev && !plain.read_only);
        let asked = Tmpfs::parse("rw,size=64k,mode=1770,exec,uid=7,size=1g,noexec,dev").unwrap();
        assert_eq!(asked.data, "mode=1770,uid=7,size=1g");
        assert!(!asked.exec && asked.dev);
    }

    #[test]
    fn an_option_that_is_none_is_named() {
        for (options, word) in
            [("size=x", "`x`"), ("mode=9", "`9`"), ("bogus", "bogus"), ("color=red", "color=red")]
        {
            let why = Tmpfs::parse(options).unwrap_err();
            assert!(why.contains(word), "{options}: {why}");
        }
    }
}

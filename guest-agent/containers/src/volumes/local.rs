//! Options of the driver `local`: Docker's `type`, `device`, `o`.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{Result, VolumeError};
use crate::mounts::Tmpfs;

/// What a volume is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Local {
    /// A folder of its own.
    Folder,
    /// Memory, for as long as a container runs with it.
    Tmpfs { data: String },
    /// Another folder of the VM.
    Bind(PathBuf),
}

impl Local {
    pub(super) fn parse(options: &BTreeMap<String, String>) -> Result<Self> {
        let option = |key: &str| options.get(key).map(String::as_str);
        for key in options.keys() {
            match key.as_str() {
                "type" | "device" | "o" => {}
                "size" => {
                    return Err(VolumeError::Unsupported {
                        option: "size".into(),
                        why: "the data disk has no quotas; type=tmpfs takes `o=size=...`",
                    });
                }
                other => return Err(VolumeError::Option(format!("\"{other}\""))),
            }
        }
        let missing =
            |key: &str| VolumeError::Option(format!("missing required option: \"{key}\""));
        let o = option("o").unwrap_or_default();
        match (option("type"), option("device")) {
            (None, None) if o.is_empty() => Ok(Self::Folder),
            (None, _) => Err(missing("type")),
            (Some(_), None) => Err(missing("device")),
            (Some("tmpfs"), Some(_)) => {
                let tmpfs = Tmpfs::parse(o).map_err(VolumeError::Option)?;
                Ok(Self::Tmpfs { data: tmpfs.data })
            }
            (Some("none" | "bind"), Some(device)) => bind(o, device),
            (Some(other), _) => Err(VolumeError::Unsupported {
                option: format!("type={other}"),
                why: "the local driver mounts tmpfs and folders of the machine (type=none,o=bind)",
            }),
        }
    }
}

fn bind(o: &str, device: &str) -> Result<Local> {
    let mut bind = false;
    for option in o.split(',').filter(|option| !option.is_empty()) {
        match option {
            "bind" | "rbind" => bind = true,
            "rw" => {}
            other => {
                return Err(VolumeError::Unsupported {
                    option: format!("o={other}"),
                    why: "a bind takes `bind` and `rw`; a mount of it can be read-only",
                });
            }
        }
    }
    if !bind {
        return Err(VolumeError::Option("type=none needs o=bind".into()));
    }
    if !Path::new(device).is_absolute() {
        return Err(VolumeError::Option(format!("device `{device}` is not an absolute path")));
    }
    Ok(Local::Bind(device.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(options: &[(&str, &str)]) -> Result<Local> {
        let pairs = options.iter().map(|(key, value)| ((*key).into(), (*value).into()));
        Local::parse(&pairs.collect())
    }

    #[test]
    fn options_say_what_a_volume_is_made_of() {
        assert_eq!(parse(&[]).unwrap(), Local::Folder);
        assert_eq!(
            parse(&[("type", "tmpfs"), ("device", "tmpfs"), ("o", "size=1m,uid=5")]).unwrap(),
            Local::Tmpfs { data: "size=1m,uid=5".into() }
        );
        assert_eq!(
            parse(&[("type", "none"), ("device", "/dev/shm"), ("o", "bind")]).unwrap(),
            Local::Bind("/dev/shm".into())
        );
    }

    #[test]
    fn what_cannot_be_done_is_refused_by_name() {
        for (options, words) in [
            (&[("type", "nfs"), ("device", ":/x")][..], "type=nfs"),
            (&[("type", "tmpfs")], "\"device\""),
            (&[("device", "/x")], "\"type\""),
            (&[("o", "bind")], "\"type\""),
            (&[("size", "1g")], "quotas"),
            (&[("colour", "red")], "\"colour\""),
            (&[("type", "none"), ("device", "/x")], "o=bind"),
            (&[("type", "none"), ("device", "x"), ("o", "bind")], "absolute"),
            (&[("type", "none"), ("device", "/x"), ("o", "bind,nosuid")], "o=nosuid"),
        ] {
            let text = parse(options).unwrap_err().to_string();
            assert!(text.contains(words), "{options:?}: {text}");
        }
    }
}

//! `--output`.

use std::path::PathBuf;

use linkspan_client::{Client, new_stream_id};
use linkspan_proto::error::{ErrorCode, Failure};
use linkspan_proto::v1::BuildOpen;
use tokio::task::JoinHandle;
use tokio_util::io::SyncIoBridge;

use crate::commands::export::Target;
use crate::error::Error;

/// Where the result goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Output {
    /// An image in the machine, with these further names; `push`: and in their registries.
    Image { names: Vec<String>, push: bool },
    /// The files, into a folder.
    Local(PathBuf),
    /// The files, as a tar; None: to standard output.
    Tar(Option<PathBuf>),
}

fn invalid(text: &str, why: &str) -> Error {
    Error::invalid(format!("cannot use --output `{text}`: {why}"))
}

impl Output {
    /// What the flags say; none: an image.
    ///
    /// # Errors
    /// What cannot be written so.
    pub(crate) fn parse(flags: &[String]) -> Result<Self, Error> {
        match flags {
            [] => Ok(Self::Image { names: Vec::new(), push: false }),
            [one] => Self::one(one),
            [_, second, ..] => Err(invalid(second, "there can be one output only")),
        }
    }

    fn one(text: &str) -> Result<Self, Error> {
        if text == "-" {
            return Ok(Self::Tar(None));
        }
        if !text.contains('=') {
            return Ok(Self::Local(text.into()));
        }
        let (mut kind, mut destination, mut names, mut push) = ("", None, Vec::new(), false);
        for field in text.split(',') {
            let (key, value) =
                field.split_once('=').ok_or_else(|| invalid(text, "it is KEY=VALUE,..."))?;
            match key {
                "type" => kind = value,
                "dest" => destination = Some(value.to_owned()),
                "name" => names.push(value.to_owned()),
                "push" if matches!(value, "true" | "false") => push = value == "true",
                other => {
                    return Err(invalid(
                        text,
                        &format!("`{other}` is not one of type, dest, name, push"),
                    ));
                }
            }
        }
        let file = destination.as_deref().filter(|path| *path != "-").map(PathBuf::from);
        if push && kind != "image" {
            return Err(invalid(text, "push is an option of type=image"));
        }
        match (kind, destination.is_some()) {
            ("local", true) => {
                Ok(Self::Local(file.ok_or_else(|| invalid(text, "`-` is no folder"))?))
            }
            ("local", false) => Err(invalid(text, "type=local needs dest=FOLDER")),
            ("tar", _) => Ok(Self::Tar(file)),
            ("image" | "docker", false) => Ok(Self::Image { names, push }),
            ("registry", false) => Ok(Self::Image { names, push: true }),
            ("image" | "registry", true) => Err(invalid(text, "an image has no dest")),
            ("docker" | "oci", _) => Err(Failure::new(
                ErrorCode::Unsupported,
                format!("cannot use --output `{text}`: archives of images are written by `save`"),
            )
            .hint("build with --tag, then `linkspan save -o FILE NAME`")
            .into()),
            (other, _) => Err(invalid(
                text,
                &format!("`{other}` is not one of local, tar, image, registry, docker, oci"),
            )),
        }
    }

    /// With `--push`.
    ///
    /// # Errors
    /// When the result is no image.
    pub(crate) fn pushed(self) -> Result<Self, Error> {
        match self {
            Self::Image { names, .. } => Ok(Self::Image { names, push: true }),
            Self::Local(_) | Self::Tar(_) => {
                Err(Error::invalid("cannot use --push with --output: files are no image"))
            }
        }
    }

    pub(crate) fn pushes(&self) -> bool {
        matches!(self, Self::Image { push: true, .. })
    }

    pub(crate) fn has_names(&self) -> bool {
        matches!(self, Self::Image { names, .. } if !names.is_empty())
    }

    /// Tells the agent of it, and begins to take what comes.
    ///
    /// # Errors
    /// A file or folder that cannot be written.
    pub(super) async fn begin(
        self,
        client: &Client,
        machine: &Option<String>,
        open: &mut BuildOpen,
    ) -> Result<Option<Writing>, Error> {
        let place = match self {
            Self::Image { names, .. } => {
                open.tags.extend(names);
                return Ok(None);
            }
            Self::Local(folder) => {
                std::fs::create_dir_all(&folder).map_err(|error| {
                    Error::invalid(format!("cannot create `{}`: {error}", folder.display()))
                })?;
                Place::Folder(folder)
            }
            Self::Tar(path) => Place::File(Box::new(Target::open(path.as_deref())?)),
        };
        let id = new_stream_id();
        open.files_stream_id = id.to_string();
        let stream = client.download(machine.as_deref(), id).await?;
        Ok(Some(tokio::spawn(async move {
            match place {
                Place::File(mut target) => {
                    let taken = target.take(stream).await.map(drop);
                    (Some(target), taken)
                }
                Place::Folder(folder) => {
                    let unpacked = tokio::task::spawn_blocking(move || {
                        let mut archive = tar::Archive::new(SyncIoBridge::new(stream));
                        archive.set_preserve_permissions(true);
                        archive.set_overwrite(true);
                        archive.unpack(&folder).map_err(|error| {
                            Error::invalid(format!("cannot write `{}`: {error}", folder.display()))
                        })
                    });
                    let unpacked = unpacked.await;
                    (None, unpacked.unwrap_or_else(|e| Err(Error::invalid(e.to_string()))))
                }
            }
        })))
    }
}

enum Place {
    Folder(PathBuf),
    File(Box<Target>),
}

/// What takes the files, and what became of it.
pub(super) type Writing = JoinHandle<(Option<Box<Target>>, Result<(), Error>)>;

/// The build has ended: a file takes its name when all of it came.
///
/// # Errors
/// What could not be written.
pub(super) async fn end(writing: Option<Writing>, good: bool) -> Result<(), Error> {
    let Some(writing) = writing else { return Ok(()) };
    if !good {
        // Nothing more comes.
        writing.abort();
    }
    let Ok((target, written)) = writing.await else { return Ok(()) };
    if let Some(target) = target {
        target.close(good && written.is_ok()).await?;
    }
    // The build's own failure says more.
    if good { written } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Output, Error> {
        Output::parse(&[text.to_owned()])
    }

    #[test]
    fn an_output_has_a_short_and_a_long_form() {
        let image = |names: &[&str], push| Output::Image {
            names: names.iter().map(ToString::to_string).collect(),
            push,
        };
        assert_eq!(Output::parse(&[]).unwrap(), image(&[], false));
        assert_eq!(parsed("-").unwrap(), Output::Tar(None));
        assert_eq!(parsed("out").unwrap(), Output::Local("out".into()));
        assert_eq!(parsed("type=local,dest=out").unwrap(), Output::Local("out".into()));
        assert_eq!(parsed("type=tar,dest=a.tar").unwrap(), Output::Tar(Some("a.tar".into())));
        assert_eq!(parsed("type=tar,dest=-").unwrap(), Output::Tar(None));
        assert_eq!(parsed("type=image,name=a").unwrap(), image(&["a"], false));
        assert_eq!(parsed("type=image,push=true").unwrap(), image(&[], true));
        assert_eq!(parsed("type=registry,name=a").unwrap(), image(&["a"], true));
        assert_eq!(Output::parse(&[]).unwrap().pushed().unwrap(), image(&[], true));
        assert!(parsed("out").unwrap().pushed().is_err());
    }

    #[test]
    fn what_cannot_be_written_is_named() {
        for (text, word) in [
            ("type=local", "dest"),
            ("type=zip", "zip"),
            ("type=tar,push=true", "push"),
            ("type=oci,dest=a", "save"),
        ] {
            let Error::Failure(failure) = parsed(text).unwrap_err() else { panic!("{text}") };
            assert!(failure.message.contains(word), "{text}: {failure}");
        }
    }
}

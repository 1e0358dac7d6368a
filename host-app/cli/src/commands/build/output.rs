//! `--output`.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use linkspan_client::{Client, new_stream_id};
use linkspan_proto::error::{ErrorCode, Failure};
use linkspan_proto::v1::{ArchiveFormat, BuildOpen, LayerCompression, LayerPacking};
use tokio::io::AsyncRead;
use tokio::task::JoinHandle;
use tokio_util::io::SyncIoBridge;

use super::layout;
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
    /// The image, with these further names, and not in the machine.
    Archive {
        format: ArchiveFormat,
        names: Vec<String>,
        place: ArchivePlace,
        compression: LayerCompression,
    },
}

/// Where an archive of the image goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ArchivePlace {
    Stdout,
    File(PathBuf),
    /// Its members, into a folder.
    Folder(PathBuf),
}

/// What is known of BuildKit's exporters and not done, and why.
const REFUSED: [(&str, &str); 2] = [
    ("oci-mediatypes", "the media types are those of OCI"),
    (
        "rewrite-timestamp",
        "no file of a layer is younger than SOURCE_DATE_EPOCH, and others are as they came",
    ),
];

/// The options of `--output`, as given.
#[derive(Default)]
struct Options<'a> {
    kind: &'a str,
    destination: Option<&'a str>,
    names: Vec<String>,
    push: bool,
    tar: Option<bool>,
    compression: LayerCompression,
}

impl<'a> Options<'a> {
    fn parse(text: &'a str) -> Result<Self, Error> {
        let mut options = Self::default();
        for field in text.split(',') {
            let (key, value) =
                field.split_once('=').ok_or_else(|| invalid(text, "it is KEY=VALUE,..."))?;
            match key {
                "type" => options.kind = value,
                "dest" => options.destination = Some(value),
                "name" => options.names.push(value.to_owned()),
                "push" if matches!(value, "true" | "false") => options.push = value == "true",
                "tar" if matches!(value, "true" | "false") => options.tar = Some(value == "true"),
                "compression" => options.compression.packing = packing(text, value)?.into(),
                "compression-level" => {
                    let why = format!("`{value}` is no compression level");
                    let level = value.parse().map_err(|_| invalid(text, &why))?;
                    options.compression.level = Some(level);
                }
                "force-compression" if matches!(value, "true" | "false") => {
                    options.compression.all = value == "true";
                }
                // As it is anyway.
                "oci-mediatypes" if value == "true" => {}
                _ if key.starts_with("annotation") => {
                    return Err(refused(text, key, "a label says the same: use --label"));
                }
                _ => {
                    if let Some((_, why)) = REFUSED.iter().find(|(refused, _)| *refused == key) {
                        return Err(refused(text, key, why));
                    }
                    let why = format!(
                        "`{field}` is not one of type, dest, name, push, tar, compression, \
                         compression-level, force-compression"
                    );
                    return Err(invalid(text, &why));
                }
            }
        }
        if options.push && options.kind != "image" {
            return Err(invalid(text, "push is an option of type=image"));
        }
        if options.tar.is_some() && !matches!(options.kind, "oci" | "docker") {
            return Err(invalid(text, "tar is an option of type=oci and type=docker"));
        }
        Ok(options)
    }

    /// What is no archive has no layers, or those of the machine, which a push compresses with gzip.
    fn check_compression(&self, text: &str) -> Result<(), Error> {
        let LayerCompression { level, all, .. } = self.compression;
        let pushed = matches!(self.kind, "image" | "registry");
        match self.compression.packing() {
            LayerPacking::Unspecified if level.is_none() && !all => Ok(()),
            LayerPacking::Gzip if pushed && level.is_none() && !all => Ok(()),
            _ if pushed => Err(refused(text, "another compression", "a push has gzip's usual one")),
            _ => {
                Err(invalid(text, "compression is an option of type=oci and type=docker,dest=FILE"))
            }
        }
    }

    /// A file or folder; None: standard output.
    fn path(&self) -> Option<PathBuf> {
        self.destination.filter(|path| !matches!(*path, "" | "-")).map(PathBuf::from)
    }

    fn place(&self, text: &str) -> Result<ArchivePlace, Error> {
        match (self.tar.unwrap_or(true), self.path()) {
            (true, None) => Ok(ArchivePlace::Stdout),
            (true, Some(file)) => Ok(ArchivePlace::File(file)),
            (false, _) if self.kind == "docker" => Err(refused(
                text,
                "tar=false",
                "only an OCI layout is read as a folder: use type=oci",
            )),
            (false, Some(folder)) => Ok(ArchivePlace::Folder(folder)),
            (false, None) => Err(invalid(text, "tar=false needs dest=FOLDER")),
        }
    }
}

fn packing(text: &str, value: &str) -> Result<LayerPacking, Error> {
    match value {
        "uncompressed" => Ok(LayerPacking::None),
        "gzip" => Ok(LayerPacking::Gzip),
        "zstd" => Ok(LayerPacking::Zstd),
        "estargz" => Err(refused(text, "estargz", "layers are compressed with gzip or zstd")),
        other => {
            let why = format!("compression `{other}` is not one of uncompressed, gzip, zstd");
            Err(invalid(text, &why))
        }
    }
}

fn invalid(text: &str, why: &str) -> Error {
    Error::invalid(format!("cannot use --output `{text}`: {why}"))
}

fn refused(text: &str, what: &str, why: &str) -> Error {
    let message = format!("cannot use --output `{text}`: {what} is not supported: {why}");
    Failure::new(ErrorCode::Unsupported, message).into()
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
        let options = Options::parse(text)?;
        let (path, has_place) = (options.path(), options.destination.is_some());
        let archive = |format, options: Options<'_>| {
            let (place, compression) = (options.place(text)?, options.compression);
            Ok(Self::Archive { format, place, names: options.names, compression })
        };
        let is_archive = options.kind == "oci"
            || (options.kind == "docker" && (has_place || options.tar == Some(false)));
        if !is_archive {
            options.check_compression(text)?;
        }
        match options.kind {
            "local" if has_place => {
                Ok(Self::Local(path.ok_or_else(|| invalid(text, "`-` is no folder"))?))
            }
            "local" => Err(invalid(text, "type=local needs dest=FOLDER")),
            "tar" => Ok(Self::Tar(path)),
            "image" | "registry" if has_place => Err(invalid(text, "an image has no dest")),
            "image" => Ok(Self::Image { names: options.names, push: options.push }),
            "registry" => Ok(Self::Image { names: options.names, push: true }),
            // Docker's own engine is meant.
            "docker" if !is_archive => Ok(Self::Image { names: options.names, push: false }),
            "docker" => archive(ArchiveFormat::Unspecified, options),
            "oci" => archive(ArchiveFormat::Oci, options),
            other => Err(invalid(
                text,
                &format!("`{other}` is not one of local, tar, image, registry, docker, oci"),
            )),
        }
    }

    /// With `--push`.
    ///
    /// # Errors
    /// When the result is no image of the machine.
    pub(crate) fn pushed(self) -> Result<Self, Error> {
        match self {
            Self::Image { names, .. } => Ok(Self::Image { names, push: true }),
            _ => Err(Error::invalid("cannot use --push with --output: nothing stays to be pushed")),
        }
    }

    /// With `--load`.
    ///
    /// # Errors
    /// When the result is no image of the machine.
    pub(crate) fn loaded(self) -> Result<Self, Error> {
        match self {
            Self::Image { .. } => Ok(self),
            _ => {
                Err(Error::invalid("cannot use --load with --output: there can be one output only"))
            }
        }
    }

    pub(crate) fn pushes(&self) -> bool {
        matches!(self, Self::Image { push: true, .. })
    }

    pub(crate) fn has_names(&self) -> bool {
        matches!(self, Self::Image { names, .. } if !names.is_empty())
    }

    /// Standard output is an archive, and nothing else may be written to it.
    pub(crate) fn takes_stdout(&self) -> bool {
        matches!(self, Self::Tar(None) | Self::Archive { place: ArchivePlace::Stdout, .. })
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
                create_folder(&folder)?;
                Place::Folder(folder)
            }
            Self::Tar(path) => Place::File(Box::new(Target::open(path.as_deref())?)),
            Self::Archive { format, names, place, compression } => {
                open.tags.extend(names);
                open.archive = Some(format.into());
                open.compression = Some(compression);
                match place {
                    ArchivePlace::Stdout => Place::File(Box::new(Target::open(None)?)),
                    ArchivePlace::File(path) => Place::File(Box::new(Target::open(Some(&path))?)),
                    ArchivePlace::Folder(folder) => {
                        create_folder(&folder)?;
                        Place::Layout(folder)
                    }
                }
            }
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
                Place::Folder(folder) => (None, unpack(stream, folder, unpack_files).await),
                Place::Layout(folder) => (None, unpack(stream, folder, layout::unpack).await),
            }
        })))
    }
}

enum Place {
    Folder(PathBuf),
    Layout(PathBuf),
    File(Box<Target>),
}

fn create_folder(folder: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(folder)
        .map_err(|error| Error::invalid(format!("cannot create `{}`: {error}", folder.display())))
}

/// What comes, into a folder.
async fn unpack<R: AsyncRead + Send + Unpin + 'static>(
    stream: R,
    folder: PathBuf,
    unpack: fn(SyncIoBridge<R>, &Path) -> io::Result<()>,
) -> Result<(), Error> {
    let stream = SyncIoBridge::new(stream);
    let unpacked = tokio::task::spawn_blocking(move || {
        unpack(stream, &folder).map_err(|error| {
            Error::invalid(format!("cannot write `{}`: {error}", folder.display()))
        })
    });
    unpacked.await.unwrap_or_else(|error| Err(Error::invalid(error.to_string())))
}

fn unpack_files(stream: impl Read, folder: &Path) -> io::Result<()> {
    let mut archive = tar::Archive::new(stream);
    archive.set_preserve_permissions(true);
    archive.set_overwrite(true);
    archive.unpack(folder)
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
        let compressed = |format, place, compression| Output::Archive {
            format,
            names: Vec::new(),
            place,
            compression,
        };
        let archive = |format, place| compressed(format, place, LayerCompression::default());
        let (oci, docker) = (ArchiveFormat::Oci, ArchiveFormat::Unspecified);
        let file = || ArchivePlace::File("a".into());
        assert_eq!(parsed("type=oci").unwrap(), archive(oci, ArchivePlace::Stdout));
        assert_eq!(parsed("type=oci,dest=a").unwrap(), archive(oci, file()));
        assert_eq!(parsed("type=docker,dest=-").unwrap(), archive(docker, ArchivePlace::Stdout));
        assert_eq!(parsed("type=docker,dest=a,tar=true").unwrap(), archive(docker, file()));
        let folder = archive(oci, ArchivePlace::Folder("a".into()));
        assert_eq!(parsed("type=oci,dest=a,tar=false,force-compression=false").unwrap(), folder);
        let of = |packing: LayerPacking, level, all| LayerCompression {
            packing: packing.into(),
            level,
            all,
        };
        let plain = compressed(oci, ArchivePlace::Stdout, of(LayerPacking::None, None, false));
        assert_eq!(parsed("type=oci,compression=uncompressed").unwrap(), plain);
        let zstd = compressed(docker, file(), of(LayerPacking::Zstd, Some(19), true));
        let text =
            "type=docker,dest=a,compression=zstd,compression-level=19,force-compression=true";
        assert_eq!(parsed(text).unwrap(), zstd);
        assert_eq!(parsed("type=registry,compression=gzip").unwrap(), image(&[], true));
        assert_eq!(parsed("type=docker,name=a").unwrap(), image(&["a"], false));
        assert_eq!(parsed("type=image,name=a").unwrap(), image(&["a"], false));
        assert_eq!(parsed("type=image,push=true").unwrap(), image(&[], true));
        assert_eq!(parsed("type=registry,name=a").unwrap(), image(&["a"], true));
        assert_eq!(Output::parse(&[]).unwrap().pushed().unwrap(), image(&[], true));
        for no_image in ["out", "-", "type=oci,dest=a"] {
            assert!(parsed(no_image).unwrap().pushed().is_err());
            assert!(parsed(no_image).unwrap().loaded().is_err());
        }
        for (text, takes) in
            [("-", true), ("type=oci", true), ("out", false), ("type=tar,dest=a", false)]
        {
            assert_eq!(parsed(text).unwrap().takes_stdout(), takes, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_written_is_named() {
        for (text, word) in [
            ("type=local", "dest"),
            ("type=zip", "zip"),
            ("type=tar,push=true", "push"),
            ("type=oci,tar=false", "dest"),
            ("type=oci,tar=maybe", "tar=maybe"),
            ("type=docker,dest=a,tar=false", "type=oci"),
            ("type=local,dest=a,tar=false", "tar"),
            ("type=oci,dest=a,compression=estargz", "estargz is not supported"),
            ("type=oci,dest=a,compression=lz4", "lz4"),
            ("type=oci,dest=a,compression-level=best", "best"),
            ("type=registry,compression=uncompressed", "another compression is not supported"),
            ("type=image,push=true,compression-level=9", "another compression is not supported"),
            ("type=docker,compression=gzip", "dest=FILE"),
            ("type=local,dest=a,compression=gzip", "type=oci"),
            ("type=oci,dest=a,annotation.x=y", "--label"),
            ("type=oci,dest=a,push=true", "push"),
        ] {
            let Error::Failure(failure) = parsed(text).unwrap_err() else { panic!("{text}") };
            assert!(failure.message.contains(word), "{text}: {failure}");
        }
    }
}

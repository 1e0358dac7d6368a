//! Layers on their way out are compressed: the same tar gives the same bytes each time.

use std::io::{self, Write};

use flate2::GzBuilder;
use flate2::write::GzEncoder;

use crate::error::{Error, Result};

/// Image-spec, layer.md.
pub(crate) const OCI_TAR: &str = "application/vnd.oci.image.layer.v1.tar";
const OCI_TAR_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const OCI_TAR_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

/// How a layer's tar is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// As it is.
    Plain,
    /// See [`Packing::gzip`].
    Gzip(u32),
    /// See [`Packing::zstd`].
    Zstd(i32),
}

/// How the layers of an image are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerCompression {
    /// Of layers that are kept as plain tars: those that were made here are.
    pub packing: Packing,
    /// Layers that came compressed in another way are compressed anew.
    pub all: bool,
}

impl Packing {
    /// What a push has. Docker's choice is Go's default, which is 6 too.
    pub(crate) const PUSHED: Self = Self::Gzip(6);

    /// With a level of 0, which only packs, to 9; None: that of a push, so that the digests are the
    /// same.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for another level.
    pub fn gzip(level: Option<u32>) -> Result<Self> {
        match level {
            None => Ok(Self::PUSHED),
            Some(level @ 0..=9) => Ok(Self::Gzip(level)),
            Some(level) => Err(no_level(level, "gzip has 0 to 9")),
        }
    }

    /// With a level of 1 to 22; None: zstd's own default.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for another level.
    pub fn zstd(level: Option<u32>) -> Result<Self> {
        match level.map(i32::try_from) {
            None => Ok(Self::Zstd(zstd::DEFAULT_COMPRESSION_LEVEL)),
            Some(Ok(level @ 1..=22)) => Ok(Self::Zstd(level)),
            Some(_) => Err(no_level(level.unwrap_or_default(), "zstd has 1 to 22")),
        }
    }

    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Plain => OCI_TAR,
            Self::Gzip(_) => OCI_TAR_GZIP,
            Self::Zstd(_) => OCI_TAR_ZSTD,
        }
    }

    /// Whether a layer of this media type, OCI's or Docker's, is so compressed already.
    pub(crate) fn is_of(self, media_type: &str) -> bool {
        match self {
            Self::Plain => media_type.ends_with(".tar"),
            Self::Gzip(_) => media_type.ends_with("gzip"),
            Self::Zstd(_) => media_type.ends_with("zstd"),
        }
    }

    pub(crate) fn into<W: Write>(self, out: W) -> io::Result<Packer<W>> {
        Ok(match self {
            Self::Plain => Packer::Plain(out),
            Self::Gzip(level) => {
                // Without name and time; RFC 1952 has 255 for an unknown system.
                let head = GzBuilder::new().mtime(0).operating_system(255);
                Packer::Gzip(head.write(out, flate2::Compression::new(level)))
            }
            Self::Zstd(level) => Packer::Zstd(zstd::Encoder::new(out, level)?),
        })
    }
}

fn no_level(level: u32, why: &str) -> Error {
    Error::Unsupported { what: format!("the compression level {level}"), why: why.to_owned() }
}

/// Compresses what is written to it.
pub(crate) enum Packer<W: Write> {
    Plain(W),
    Gzip(GzEncoder<W>),
    Zstd(zstd::Encoder<'static, W>),
}

impl<W: Write> Packer<W> {
    /// Writes what is left.
    pub(crate) fn finish(self) -> io::Result<W> {
        match self {
            Self::Plain(out) => Ok(out),
            Self::Gzip(encoder) => encoder.finish(),
            Self::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for Packer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(out) => out.write(bytes),
            Self::Gzip(encoder) => encoder.write(bytes),
            Self::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(out) => out.flush(),
            Self::Gzip(encoder) => encoder.flush(),
            Self::Zstd(encoder) => encoder.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_those_of_the_programs() {
        assert_eq!(Packing::gzip(None).unwrap(), Packing::PUSHED);
        assert_eq!(Packing::gzip(Some(0)).unwrap(), Packing::Gzip(0));
        assert_eq!(Packing::zstd(None).unwrap(), Packing::Zstd(3));
        assert_eq!(Packing::zstd(Some(22)).unwrap(), Packing::Zstd(22));
        for wrong in [Packing::gzip(Some(10)), Packing::zstd(Some(0)), Packing::zstd(Some(23))] {
            assert!(wrong.unwrap_err().to_string().contains("level"));
        }
    }

    #[test]
    fn media_types_of_oci_and_of_docker_are_known() {
        let docker = "application/vnd.docker.image.rootfs.diff.tar";
        for packing in [Packing::Plain, Packing::Gzip(1), Packing::Zstd(1)] {
            assert!(packing.is_of(packing.media_type()));
            assert_eq!(packing.is_of(docker), packing == Packing::Plain);
            assert_eq!(packing.is_of(&format!("{docker}.gzip")), packing == Packing::Gzip(1));
        }
    }
}

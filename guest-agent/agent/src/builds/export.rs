//! What becomes of a build's result: an image in the store, an archive of one, or files.

use std::time::{Duration, Instant};

use linkspan_builder::{Finished, Progress as _, StepState};
use linkspan_images::{ArchiveFormat, LayerCompression, Packing};
use linkspan_proto::{
    error::Failure,
    v1::{self as wire, BuildOpen},
};
use tokio_util::io::SyncIoBridge;

use super::{dialogue::of_build, report::Report};
use crate::failure::of_store;
use crate::rpc::{Guest, archive_format};

/// Takes the byte stream that the caller named, if it named one.
pub(super) async fn open(guest: &Guest, open: &BuildOpen) -> Result<Option<Out>, Failure> {
    if open.files_stream_id.is_empty() {
        return Ok(None);
    }
    let archive = match open.archive {
        Some(_) => Some((archive_format(open.archive()), compression(open)?)),
        None => None,
    };
    let stream = SyncIoBridge::new(guest.streams.take_download(&open.files_stream_id).await?);
    Ok(Some((stream, archive)))
}

fn compression(open: &BuildOpen) -> Result<Option<LayerCompression>, Failure> {
    let Some(asked) = &open.compression else { return Ok(None) };
    let packing = match asked.packing() {
        wire::LayerPacking::None => Ok(Packing::Plain),
        wire::LayerPacking::Zstd => Packing::zstd(asked.level),
        wire::LayerPacking::Gzip | wire::LayerPacking::Unspecified => Packing::gzip(asked.level),
    };
    let packing = packing.map_err(|error| of_store(&error))?;
    Ok(Some(LayerCompression { packing, all: asked.all }))
}

/// Where the files of the target go, or the image as an archive.
pub(super) type Out =
    (SyncIoBridge<crate::streams::Outgoing>, Option<(ArchiveFormat, Option<LayerCompression>)>);

/// Makes the image, or writes it, or the files.
pub(super) fn export(
    finished: &Finished<'_>,
    tags: &[String],
    out: Option<Out>,
    report: &Report,
) -> Result<wire::BuiltImage, Failure> {
    let (done, cached) = finished.steps();
    let count = |steps| u32::try_from(steps).unwrap_or(u32::MAX);
    let built = wire::BuiltImage {
        steps_done: count(done),
        steps_cached: count(cached),
        ..wire::BuiltImage::default()
    };
    let title = match out {
        None => "exporting to image",
        Some((_, Some(_))) => "exporting to an archive of the image",
        Some((_, None)) => "exporting files",
    };
    let began = Instant::now();
    report.step(title, StepState::Running, Duration::ZERO);
    let built = match out {
        None => {
            let image = finished.image(tags).map_err(|error| of_build(&error))?;
            wire::BuiltImage { id: image.id.to_string(), tags: image.tags, ..built }
        }
        Some((out, Some((format, compression)))) => {
            let id =
                finished.save(tags, format, compression, out).map_err(|error| of_build(&error))?;
            wire::BuiltImage { id: id.to_string(), ..built }
        }
        Some((out, None)) => {
            finished.write_files(out).map_err(|error| of_build(&error))?;
            built
        }
    };
    report.step(title, StepState::Done, began.elapsed());
    Ok(built)
}

//! What becomes of a build's result: an image in the store, an archive of one, or files.

use std::time::{Duration, Instant};

use linkspan_builder::{Finished, Progress as _, StepState};
use linkspan_images::ArchiveFormat;
use linkspan_proto::{
    error::Failure,
    v1::{self as wire, BuildOpen},
};
use tokio_util::io::SyncIoBridge;

use super::{dialogue::of_build, report::Report};
use crate::rpc::{Guest, archive_format};

/// Takes the byte stream that the caller named, if it named one.
pub(super) async fn open(guest: &Guest, open: &BuildOpen) -> Result<Option<Out>, Failure> {
    if open.files_stream_id.is_empty() {
        return Ok(None);
    }
    let stream = SyncIoBridge::new(guest.streams.take_download(&open.files_stream_id).await?);
    Ok(Some((stream, open.archive.map(|_| archive_format(open.archive())))))
}

/// Where the files of the target go, or the image as an archive.
pub(super) type Out = (SyncIoBridge<crate::streams::Outgoing>, Option<ArchiveFormat>);

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
        Some((out, Some(format))) => {
            let id = finished.save(tags, format, out).map_err(|error| of_build(&error))?;
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

//! `linkspan.v1.FileService`.

use std::{
    io::{Read, Write},
    sync::mpsc,
    time::Duration,
};

use linkspan_containers::{
    Error,
    files::{ChangeKind, CopyIn, CopyOut, PathStat},
};
use linkspan_images::{CommitOptions, Healthcheck};
use linkspan_proto::{
    error::{ErrorCode, Failure},
    v1::{self as wire, file_service_server::FileService},
};
use tokio_util::io::SyncIoBridge;
use tonic::{Request, Response, Status};

use super::{Guest, blocking};
use crate::{
    failure::{of_container, of_store},
    streams::Severable,
};

/// The service.
pub(super) struct Face(pub(super) Guest);

type Answer<T> = Result<Response<T>, Status>;

/// Large enough that an archive's headers do not cost a system call each.
const BUFFER: usize = 128 * 1024;
/// Why a copy ends early.
const REMOVED: &str = "the container is being removed";

fn refuse(error: Error) -> Status {
    of_container(&error).into()
}

fn told(stat: PathStat) -> wire::PathStat {
    wire::PathStat {
        name: stat.name,
        size_bytes: stat.size,
        mode: stat.mode,
        modified_unix_nanos: stat.modified_unix_nanos,
        link_target: stat.link_target.to_string_lossy().into_owned(),
    }
}

/// A layer that breaks off in the middle must not become an image: its end counts only when its
/// writer has said that it is one.
struct Whole {
    layer: std::io::PipeReader,
    complete: mpsc::Receiver<bool>,
    ended: bool,
}

impl Read for Whole {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self.layer.read(buffer)? {
            0 if buffer.is_empty() || self.ended => Ok(0),
            0 => {
                self.ended = self.complete.recv().unwrap_or(false);
                if self.ended { Ok(0) } else { Err(std::io::ErrorKind::UnexpectedEof.into()) }
            }
            length => Ok(length),
        }
    }
}

impl Face {
    /// What is written to a download stream. Nothing is written to it but the bytes asked for: what
    /// goes wrong is the call's answer. It ends with its container.
    async fn download(
        &self,
        container: &str,
        id: &str,
    ) -> Result<impl Write + Send + use<>, Status> {
        let stream = self.0.streams.take_download(id).await?;
        let forced = self.0.containers.forced_removal(container).map_err(refuse)?;
        let stream = SyncIoBridge::new(Severable::new(stream, forced, REMOVED));
        Ok(std::io::BufWriter::with_capacity(BUFFER, stream))
    }
}

#[tonic::async_trait]
impl FileService for Face {
    async fn stat(
        &self,
        request: Request<wire::StatPathRequest>,
    ) -> Answer<wire::StatPathResponse> {
        let wire::StatPathRequest { container, path, follow } = request.into_inner();
        let found = self.0.containers.stat_path(&container, &path, follow).await.map_err(refuse)?;
        Ok(Response::new(wire::StatPathResponse { stat: found.map(told) }))
    }

    async fn list(
        &self,
        request: Request<wire::ListFolderRequest>,
    ) -> Answer<wire::ListFolderResponse> {
        let wire::ListFolderRequest { container, path } = request.into_inner();
        let listed = self.0.containers.list_folder(&container, &path).await;
        let (entries, truncated) = listed.map_err(refuse)?;
        let entries = entries.into_iter().map(told).collect();
        Ok(Response::new(wire::ListFolderResponse { entries, truncated }))
    }

    async fn copy_out(
        &self,
        request: Request<wire::CopyOutRequest>,
    ) -> Answer<wire::CopyOutResponse> {
        let wire::CopyOutRequest { container, path, follow, name, stream_id } =
            request.into_inner();
        let out = self.download(&container, &stream_id).await?;
        let what = CopyOut { path, follow, name };
        self.0.containers.copy_out(&container, what, out).await.map_err(refuse)?;
        Ok(Response::new(wire::CopyOutResponse {}))
    }

    async fn copy_in(&self, request: Request<wire::CopyInRequest>) -> Answer<wire::CopyInResponse> {
        let wire::CopyInRequest { container, path, keep_owner, stream_id, replace_kinds } =
            request.into_inner();
        let stream = self.0.streams.take(&stream_id).await?;
        let forced = self.0.containers.forced_removal(&container).map_err(refuse)?;
        let archive = SyncIoBridge::new(Severable::new(stream, forced, REMOVED));
        let how = CopyIn { keep_owner, replace_kinds };
        let copied = self.0.containers.copy_in(&container, &path, how, archive).await;
        copied.map_err(refuse)?;
        Ok(Response::new(wire::CopyInResponse {}))
    }

    async fn changes(
        &self,
        request: Request<wire::ListChangesRequest>,
    ) -> Answer<wire::ListChangesResponse> {
        let found =
            self.0.containers.changes(&request.into_inner().container).await.map_err(refuse)?;
        let encode = |change: linkspan_containers::files::Change| wire::Change {
            path: change.path.to_string_lossy().into_owned(),
            kind: match change.kind {
                ChangeKind::Modified => wire::ChangeKind::Modified,
                ChangeKind::Added => wire::ChangeKind::Added,
                ChangeKind::Deleted => wire::ChangeKind::Deleted,
            }
            .into(),
        };
        let changes = found.into_iter().map(encode).collect();
        Ok(Response::new(wire::ListChangesResponse { changes }))
    }

    async fn export(
        &self,
        request: Request<wire::ExportContainerRequest>,
    ) -> Answer<wire::ExportContainerResponse> {
        let wire::ExportContainerRequest { container, stream_id } = request.into_inner();
        let out = self.download(&container, &stream_id).await?;
        self.0.containers.export(&container, out).await.map_err(refuse)?;
        Ok(Response::new(wire::ExportContainerResponse {}))
    }

    async fn commit(
        &self,
        request: Request<wire::CommitContainerRequest>,
    ) -> Answer<wire::CommitContainerResponse> {
        let request = request.into_inner();
        let said = CommitOptions {
            reference: Some(request.reference).filter(|reference| !reference.is_empty()),
            author: request.author,
            message: request.message.clone(),
            changes: request.changes,
            ..said(request.config.unwrap_or_default())
        };
        let options = self.0.containers.commit_options(&request.container, said);
        let (parent, options) = options.map_err(refuse)?;
        let pipe = |error: std::io::Error| {
            Failure::new(ErrorCode::Internal, format!("cannot make a pipe: {error}"))
        };
        let (layer, out) = std::io::pipe().map_err(pipe)?;
        let (verdict, complete) = mpsc::channel();
        let layer = Whole { layer, complete, ended: false };
        let store = self.0.images.clone();
        let committed = blocking(move || {
            store.commit(&parent, layer, &options).map_err(|error| of_store(&error))
        });
        let out = std::io::BufWriter::with_capacity(BUFFER, out);
        let written = async {
            let (who, pause) = (&request.container, !request.no_pause);
            let written = self.0.containers.layer(who, pause, out).await;
            // Without a reader the commit has failed already.
            let _ = verdict.send(written.is_ok());
            written
        };
        // Each ends with the other: the layer has the reason, unless it only says that nobody
        // reads it any more.
        let (committed, written) = tokio::join!(committed, written);
        let image = match (committed, written) {
            (Ok(image), Ok(())) => image,
            (Err(status), Ok(()) | Err(Error::Files(linkspan_files::Error::Write(_)))) => {
                return Err(status);
            }
            (_, Err(error)) => return Err(refuse(error)),
        };
        let id = image.id.to_string();
        self.0.containers.committed(&request.container, &id, &request.message);
        Ok(Response::new(wire::CommitContainerResponse { id: image.id.to_string() }))
    }
}

/// What the image is to say in the place of what the container was told.
fn said(config: wire::CommitConfig) -> CommitOptions {
    CommitOptions {
        env: config.env,
        entrypoint: (!config.entrypoint.is_empty()).then_some(config.entrypoint),
        cmd: config.command,
        user: config.user,
        working_dir: config.working_dir,
        stop_signal: config.stop_signal,
        labels: config.labels.into_iter().collect(),
        health: config.healthcheck.map(|check| Healthcheck {
            test: check.test,
            interval: Duration::from_nanos(check.interval_nanos),
            timeout: Duration::from_nanos(check.timeout_nanos),
            start_period: Duration::from_nanos(check.start_period_nanos),
            start_interval: Duration::from_nanos(check.start_interval_nanos),
            retries: check.retries,
        }),
        exposed_ports: config.exposed_ports,
        volumes: config.volumes,
        on_build: config.on_build,
        shell: config.shell,
        ..CommitOptions::default()
    }
}

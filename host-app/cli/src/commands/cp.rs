//! `cp`: between this computer and a container.

mod local;
mod place;

use std::path::Path;

use clap::Args;
use linkspan_client::{Client, new_stream_id};
use linkspan_proto::error::{ErrorCode, Failure};
use linkspan_proto::v1::{CopyInRequest, CopyOutRequest, PathStat, StatPathRequest};

use super::export::{Target, both};
use super::load::{open, with_upload};
use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::render::human;
use place::{Place, Source, Target as Destination, contents, is_folder, place};

/// Copy files between this computer and a container, which need not run
///
/// `-` as the source reads a tar archive from standard input, as the target writes one to standard
/// output. A folder is copied into one that exists, or else becomes the target; `FOLDER/.` copies
/// what is in it.
#[derive(Debug, Args)]
#[command(override_usage = "linkspan cp [OPTIONS] CONTAINER:PATH PATH|-\n       \
                            linkspan cp [OPTIONS] PATH|- CONTAINER:PATH")]
pub(crate) struct Cp {
    /// Keep owners and groups by number
    #[arg(short, long)]
    archive: bool,
    /// Follow a symbolic link in the source
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// Do not say what was copied
    #[arg(short, long)]
    quiet: bool,
    #[arg(value_name = "SOURCE", allow_hyphen_values = true)]
    source: String,
    #[arg(value_name = "TARGET", allow_hyphen_values = true)]
    target: String,
}

impl Cp {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        let (source, target) = (self.source.clone(), self.target.clone());
        match (Place::parse(&source), Place::parse(&target)) {
            (Place::Local(path), Place::Container { name, path: to }) => {
                self.copy_in(&context, path, name, to).await
            }
            (Place::Container { name, path: from }, Place::Local(path)) => {
                self.copy_out(&context, name, from, path).await
            }
            (Place::Container { .. }, Place::Container { .. }) => {
                Err(Error::invalid("copying between containers is not supported"))
            }
            (Place::Local(_), Place::Local(_)) => {
                Err(Error::invalid("must specify at least one container source or target"))
            }
        }
    }

    async fn copy_in(&self, context: &Context, path: &str, name: &str, to: &str) -> Outcome {
        let local = (path != "-").then(|| local::stat(path, self.follow_link)).transpose()?;
        let archive = if local.is_none() { Some(open(None).await?) } else { None };
        let client = context.running().await?;
        let found = stat(&client, context, name, to, true).await?;
        let folder = found.as_ref().is_some_and(|stat| is_folder(stat.mode));
        let (folder, archive, size) = match (local, archive) {
            (Some(is_folder), _) => {
                let source = Source { path, is_folder };
                let target = Destination { path: to, exists: found.is_some(), is_folder: folder };
                let (folder, top) = place(&source, &target).map_err(Error::invalid)?;
                let (archive, size) = local::pack(path, top, self.follow_link);
                (folder, archive, size)
            }
            (None, Some(archive)) if folder => (to.to_owned(), archive, None),
            (None, _) => {
                return Err(Error::invalid(format!(
                    "an archive is unpacked in a folder, and `{to}` in `{name}` is none"
                )));
            }
        };
        let id = new_stream_id();
        let request = CopyInRequest {
            container: name.to_owned(),
            path: folder,
            keep_owner: self.archive,
            stream_id: id.to_string(),
            ..Default::default()
        };
        let mut calls = client.files(context.machine());
        let call = async { calls.copy_in(request).await.map(drop).map_err(Error::from) };
        let result = with_upload(&client, context, id, archive, call).await;
        // A file that cannot be read ends the archive early: that is the reason then.
        let size = match size {
            Some(size) => Some(size.await.map_err(|error| Error::invalid(error.to_string()))??),
            None => None,
        };
        result?;
        self.say(size, &format!("{name}:{to}"));
        Ok(0)
    }

    async fn copy_out(&self, context: &Context, name: &str, from: &str, path: &str) -> Outcome {
        let client = context.running().await?;
        let found = stat(&client, context, name, from, self.follow_link).await?;
        let is_folder = match found {
            Some(stat) => is_folder(stat.mode),
            None => {
                let why = format!("could not find the file `{from}` in container `{name}`");
                return Err(Failure::new(ErrorCode::NotFound, why).into());
            }
        };
        let source = Source { path: from, is_folder };
        let (folder, top) = if path == "-" {
            (None, source.name())
        } else {
            let (exists, is_folder) = local::exists(path);
            let target = Destination { path, exists, is_folder };
            let (folder, top) = place(&source, &target).map_err(Error::invalid)?;
            if !Path::new(&folder).is_dir() {
                return Err(Error::invalid(format!(
                    "invalid output path: directory `{folder}` does not exist"
                )));
            }
            (Some(folder), top)
        };
        let mut out = if folder.is_none() { Some(Target::open(None)?) } else { None };
        let id = new_stream_id();
        let stream = client.download(context.machine(), id).await?;
        let request = CopyOutRequest {
            container: name.to_owned(),
            path: from.to_owned(),
            follow: self.follow_link,
            name: top,
            stream_id: id.to_string(),
        };
        let mut calls = client.files(context.machine());
        let call = async { calls.copy_out(request).await.map(drop).map_err(Error::from) };
        match (&mut out, folder) {
            (Some(out), _) => drop(both(call, out.take(stream)).await?),
            (None, folder) => {
                let folder = folder.unwrap_or_default();
                let size = both(call, local::unpack(stream, folder.into(), self.archive)).await?;
                self.say(Some(size), path);
            }
        }
        Ok(0)
    }

    /// As Docker: on standard error, for standard output may be the archive.
    fn say(&self, size: Option<u64>, to: &str) {
        if let (false, Some(size)) = (self.quiet, size) {
            say!("Successfully copied {} to {to}", human::size(size));
        }
    }
}

async fn stat(
    client: &Client,
    context: &Context,
    container: &str,
    path: &str,
    follow: bool,
) -> Result<Option<PathStat>, Error> {
    let request =
        StatPathRequest { container: container.to_owned(), path: path.to_owned(), follow };
    Ok(client.files(context.machine()).stat(request).await?.into_inner().stat)
}

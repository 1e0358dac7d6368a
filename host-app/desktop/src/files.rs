//! Bytes between what the user has chosen and a machine, beside the calls that the pages make.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

use linkspan_client::{Client, Failure};
use linkspan_local_files::{Context, FilesError, Recipe};
use linkspan_proto::{error::ErrorCode, v1::ContextListing};
use tokio::{io::AsyncRead, task::JoinError};
use tokio_util::io::SyncIoBridge;
use uuid::Uuid;

use crate::picks::{Pick, Picks, What, refused};

/// Bytes that may wait between the disk and the connection.
const AHEAD: usize = 1 << 20;

/// A byte stream as a call names it.
pub(crate) fn stream_id(text: &str) -> Result<Uuid, Failure> {
    text.parse().map_err(|_| {
        Failure::new(ErrorCode::InvalidArgument, format!("`{text}` is not the id of a stream"))
    })
}

/// Sends a file as it is.
pub(crate) async fn send_file(client: &Client, pick: Pick, id: Uuid) -> Result<(), Failure> {
    let read = |source| Failure::from(FilesError::Read { path: pick.path.clone(), source });
    let file = tokio::fs::File::open(&pick.path).await.map_err(read)?;
    client.upload(None, id, file).await.map(drop)
}

/// Sends a file or folder as an archive, under its own name.
pub(crate) async fn send_archive(client: &Client, pick: Pick, id: Uuid) -> Result<(), Failure> {
    let name = name_of(&pick.path)?;
    write_to(client, id, move |out| {
        linkspan_local_files::pack(&pick.path, &name, true, out).map(drop)
    })
    .await
}

/// Sends the contents of files of a context that were listed.
pub(crate) async fn send_listed(
    client: &Client,
    pick: Pick,
    paths: Vec<String>,
    id: Uuid,
) -> Result<(), Failure> {
    let context = pick.context.ok_or_else(|| refused("it is not the context of a build"))?;
    write_to(client, id, move |out| context.lock().send(&paths, out)).await
}

async fn write_to(
    client: &Client,
    id: Uuid,
    write: impl FnOnce(SyncIoBridge<tokio::io::DuplexStream>) -> Result<(), FilesError> + Send + 'static,
) -> Result<(), Failure> {
    let (near, far) = tokio::io::duplex(AHEAD);
    let writing = tokio::task::spawn_blocking(move || write(SyncIoBridge::new(far)));
    let sent = client.upload(None, id, near).await;
    match writing.await.map_err(died)? {
        // A stream that nobody takes any more says so itself, and why.
        Ok(()) | Err(FilesError::Output(_)) => sent.map(drop),
        // The archive ended early, and that is the reason.
        Err(error) => Err(error.into()),
    }
}

/// Unpacks what a machine sends: into the chosen folder, or as the chosen file or folder.
pub(crate) async fn receive_archive(client: &Client, pick: Pick, id: Uuid) -> Result<(), Failure> {
    let stream = client.download(None, id).await?;
    tokio::task::spawn_blocking(move || receive(stream, &pick)).await.map_err(died)??;
    Ok(())
}

fn receive(stream: impl AsyncRead + Send + Unpin, pick: &Pick) -> Result<(), FilesError> {
    let stream = SyncIoBridge::new(stream);
    let left_out = |path: &Path| {
        tracing::warn!("left out `{}`: a device or pipe", path.display());
    };
    if pick.what != What::Save {
        return linkspan_local_files::unpack(stream, &pick.path, false, left_out).map(drop);
    }
    // Beside its place first: whatever else the archive has, only the chosen place is written.
    let beside = pick.path.parent().unwrap_or(Path::new("."));
    let cannot = |source| FilesError::Unpack { folder: beside.to_owned(), source };
    let folder =
        tempfile::Builder::new().prefix(".linkspan-").tempdir_in(beside).map_err(cannot)?;
    linkspan_local_files::unpack(stream, folder.path(), false, left_out)?;
    let received = only_entry(folder.path()).map_err(cannot)?;
    fs::rename(received, &pick.path)
        .map_err(|source| FilesError::Unpack { folder: pick.path.clone(), source })
}

fn only_entry(folder: &Path) -> io::Result<PathBuf> {
    let mut entries = fs::read_dir(folder)?;
    match (entries.next(), entries.next()) {
        (Some(entry), None) => Ok(entry?.path()),
        _ => {
            Err(io::Error::new(io::ErrorKind::InvalidData, "the archive is not one file or folder"))
        }
    }
}

/// Makes what was chosen the context of a build. An empty `dockerfile` is the one in it.
pub(crate) async fn open_context(
    picks: &Picks,
    token: &str,
    dockerfile: String,
) -> Result<Recipe, Failure> {
    let pick = picks.get(token)?;
    let opened = tokio::task::spawn_blocking(move || {
        let context = Context::open(&pick.path)?;
        let file = (!dockerfile.is_empty()).then(|| within(context.root(), &dockerfile));
        let recipe = context.recipe(file.transpose()?.as_deref())?;
        Ok::<_, Failure>((context, recipe))
    });
    let (context, recipe) = opened.await.map_err(died)??;
    picks.set_context(token, context);
    Ok(recipe)
}

/// A file of the folder, and of nothing outside of it.
fn within(root: &Path, file: &str) -> Result<PathBuf, Failure> {
    let inside = Path::new(file).components().all(|part| matches!(part, Component::Normal(_)));
    let path = root.join(file);
    let real =
        path.canonicalize().map_err(|source| FilesError::Read { path: path.clone(), source })?;
    if !inside || !real.starts_with(root) {
        return Err(refused(&format!("`{file}` is not in the folder")));
    }
    Ok(path)
}

pub(crate) async fn list_context(
    pick: Pick,
    folders: Vec<String>,
) -> Result<ContextListing, Failure> {
    let context = pick.context.ok_or_else(|| refused("it is not the context of a build"))?;
    let listed = tokio::task::spawn_blocking(move || {
        let mut context = context.lock();
        folders.iter().map(|folder| context.list(folder)).collect::<Result<Vec<_>, _>>()
    });
    Ok(ContextListing { folders: listed.await.map_err(died)??, more: false })
}

fn name_of(path: &Path) -> Result<String, Failure> {
    let name = path.file_name().and_then(|name| name.to_str());
    name.map(str::to_owned).ok_or_else(|| refused("it has no name that a machine could have"))
}

fn died(error: JoinError) -> Failure {
    Failure::new(ErrorCode::Internal, format!("a copy of files broke off: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(entries: &[&str]) -> Vec<u8> {
        let from = tempfile::tempdir().unwrap();
        for name in entries {
            fs::write(from.path().join(name), name).unwrap();
        }
        let mut tar = Vec::new();
        match entries {
            [one] => linkspan_local_files::pack(&from.path().join(one), one, false, &mut tar),
            _ => linkspan_local_files::pack(from.path(), ".", false, &mut tar),
        }
        .unwrap();
        tar
    }

    async fn received(tar: Vec<u8>, what: What, path: PathBuf) -> Result<(), FilesError> {
        let pick = Pick { what, path, context: None };
        let stream = io::Cursor::new(tar);
        tokio::task::spawn_blocking(move || receive(stream, &pick)).await.unwrap()
    }

    #[tokio::test]
    async fn what_is_saved_is_the_chosen_place_and_nothing_beside_it() {
        let home = tempfile::tempdir().unwrap();
        let place = home.path().join("mine.txt");
        received(archive(&["theirs"]), What::Save, place.clone()).await.unwrap();
        assert_eq!(fs::read_to_string(&place).unwrap(), "theirs");
        received(archive(&["a", "b"]), What::Save, place.clone()).await.unwrap_err();
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1, "nothing is left beside it");
        received(archive(&["a", "b"]), What::Folder, home.path().to_owned()).await.unwrap();
        assert!(home.path().join("b").is_file());
    }

    #[test]
    fn a_dockerfile_is_in_the_folder_that_was_chosen() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().canonicalize().unwrap().join("context");
        fs::create_dir_all(root.join("sub")).unwrap();
        fs::write(root.join("sub/Dockerfile"), "FROM scratch").unwrap();
        fs::write(root.join("../secret"), "").unwrap();
        assert!(within(&root, "sub/Dockerfile").is_ok());
        for outside in ["../secret", "/etc/hostname", "sub/../../secret"] {
            assert!(within(&root, outside).is_err(), "{outside}");
        }
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("../secret", root.join("link")).unwrap();
            assert!(within(&root, "link").is_err());
        }
    }
}

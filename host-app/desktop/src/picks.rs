//! What the user has chosen of this host's files, in the system's own dialog.
//!
//! The pages get a token for each and nothing else to reach a file with, so that they read and
//! write what was chosen and nothing besides. Tokens end with the page that has them.

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use linkspan_client::Failure;
use linkspan_local_files::Context;
use linkspan_proto::error::ErrorCode;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tauri::AppHandle;
use tauri_plugin_dialog::{DialogExt as _, FilePath};
use tokio::sync::oneshot;

/// Names a file with the path that a test chooses, because no WebDriver can reach the system's
/// dialog. Not in a program that is handed out.
#[cfg(debug_assertions)]
const ANSWER: &str = "LINKSPAN_DESKTOP_PICK";

/// What is to be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum What {
    /// A folder to read, or to put things into.
    Folder,
    /// A file to read.
    File,
    /// An archive of images to read.
    Archive,
    /// A place for a file or folder that need not be there yet.
    Save,
    /// A folder that machines are to have: the pages need only its path.
    Share,
}

/// Something that was chosen.
#[derive(Debug, Clone)]
pub(crate) struct Pick {
    pub(crate) what: What,
    pub(crate) path: PathBuf,
    /// Once it is the context of a build.
    pub(crate) context: Option<Arc<Mutex<Context>>>,
}

/// As the pages know it.
#[derive(Debug, Serialize)]
pub(crate) struct Picked {
    token: String,
    /// For the user's eyes.
    path: String,
}

#[derive(Debug, Default)]
pub(crate) struct Picks(Mutex<HashMap<String, Pick>>);

impl Picks {
    /// None: the user has chosen nothing. `name` is proposed for what is saved.
    pub(crate) async fn pick(
        &self,
        app: &AppHandle,
        what: What,
        name: &str,
    ) -> Result<Option<Picked>, Failure> {
        let Some(path) = ask(app, what, name).await? else { return Ok(None) };
        Ok(Some(self.keep(what, path)))
    }

    fn keep(&self, what: What, path: PathBuf) -> Picked {
        let token = uuid::Uuid::new_v4().to_string();
        let shown = path.display().to_string();
        self.0.lock().insert(token.clone(), Pick { what, path, context: None });
        Picked { token, path: shown }
    }

    pub(crate) fn get(&self, token: &str) -> Result<Pick, Failure> {
        self.0.lock().get(token).cloned().ok_or_else(|| refused("it was not chosen"))
    }

    /// Makes it the context of a build.
    pub(crate) fn set_context(&self, token: &str, context: Context) {
        if let Some(pick) = self.0.lock().get_mut(token) {
            pick.context = Some(Arc::new(Mutex::new(context)));
        }
    }

    pub(crate) fn forget_all(&self) {
        self.0.lock().clear();
    }
}

pub(crate) fn refused(why: &str) -> Failure {
    Failure::new(ErrorCode::InvalidArgument, format!("cannot use this file or folder: {why}"))
}

async fn ask(app: &AppHandle, what: What, name: &str) -> Result<Option<PathBuf>, Failure> {
    #[cfg(debug_assertions)]
    if let Some(answer) = std::env::var_os(ANSWER) {
        let chosen = tokio::fs::read_to_string(answer).await;
        let chosen = chosen.map_err(|error| refused(&error.to_string()))?;
        return Ok((!chosen.is_empty()).then(|| chosen.into()));
    }
    let (tell, answer) = oneshot::channel();
    let tell = move |chosen: Option<FilePath>| drop(tell.send(chosen));
    let dialog = app.dialog().file();
    match what {
        What::Folder | What::Share => dialog.pick_folder(tell),
        What::File => dialog.pick_file(tell),
        What::Archive => {
            let archives = ["tar", "gz", "tgz", "xz", "zst"];
            dialog.add_filter("Archives", &archives).pick_file(tell);
        }
        What::Save => dialog.set_file_name(name).save_file(tell),
    }
    let chosen = answer.await.map_err(|_| refused("the dialog could not be opened"))?;
    let path = chosen.map(FilePath::into_path).transpose();
    path.map_err(|error| refused(&error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_chosen_cannot_be_named() {
        let picks = Picks::default();
        let picked = picks.keep(What::File, "/etc/hostname".into());
        assert_eq!(picks.get(&picked.token).unwrap().path, PathBuf::from("/etc/hostname"));
        assert!(picks.get("/etc/passwd").is_err());
        picks.forget_all();
        assert!(picks.get(&picked.token).is_err(), "the page that had it has gone");
    }
}

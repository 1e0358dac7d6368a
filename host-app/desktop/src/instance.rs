//! One app a home: a second one only asks the first to show its window.
//!
//! Who connects to the first one's socket wants to see the window; nothing is said. By home and
//! not by the app's identifier on the session bus (as Tauri's plug-in does it): two homes are two
//! Linkspans, and a bus may be missing.

use std::{
    io,
    time::{Duration, Instant},
};

use linkspan_state::Paths;
use linkspan_transport::local::{self, Listener};
use tauri::AppHandle;

use crate::window;

/// How long another app may hold the home without listening: it is just starting or ending.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(crate) enum Instance {
    /// This one; the others knock at its door.
    First(Listener),
    /// It has been told.
    Another,
}

pub(crate) async fn claim(paths: &Paths) -> io::Result<Instance> {
    let socket = paths.desktop_socket();
    let deadline = Instant::now() + PATIENCE;
    loop {
        match local::connect(&socket).await {
            Ok(_) => return Ok(Instance::Another),
            Err(error) if !error.nobody_listens() => return Err(io::Error::other(error)),
            Err(_) => {}
        }
        match Listener::bind(&socket) {
            Ok(door) => return Ok(Instance::First(door)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Shows the window whenever somebody knocks, until the app ends.
pub(crate) async fn serve(mut door: Listener, app: AppHandle) {
    loop {
        match door.accept().await {
            Ok(_) => window::show_or_log(&app),
            Err(error) => return tracing::warn!(%error, "a second app cannot be noticed any more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_second_one_knocks_and_the_next_first_one_can_claim_again() {
        let home = tempfile::tempdir().unwrap();
        let paths = Paths::at(home.path()).unwrap();
        let Instance::First(mut door) = claim(&paths).await.unwrap() else { panic!("the first") };
        let (knocked, claimed) = tokio::join!(door.accept(), claim(&paths));
        knocked.unwrap();
        assert!(matches!(claimed.unwrap(), Instance::Another));
        drop(door);
        assert!(matches!(claim(&paths).await.unwrap(), Instance::First(_)));
    }
}

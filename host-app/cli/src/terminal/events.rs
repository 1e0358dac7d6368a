//! Signals and changes of the terminal's size.

use linkspan_proto::v1::TerminalSize;
use tokio::sync::mpsc;

/// Signals as Linux numbers them, by the names that every Unix has: what the container gets is a
/// Linux signal, whatever this host counts.
#[cfg_attr(not(unix), allow(dead_code))]
pub(crate) mod linux {
    pub(crate) const SIGHUP: u32 = 1;
    pub(crate) const SIGINT: u32 = 2;
    pub(crate) const SIGQUIT: u32 = 3;
    pub(crate) const SIGUSR1: u32 = 10;
    pub(crate) const SIGUSR2: u32 = 12;
    pub(crate) const SIGALRM: u32 = 14;
    pub(crate) const SIGTERM: u32 = 15;
}

/// Those whose default is to end the process.
pub(crate) fn ends_the_process(signal: u32) -> bool {
    (linux::SIGHUP..=linux::SIGTERM).contains(&signal)
}

/// Signals that this process gets from now on, as Linux numbers. None of them ends it any more.
#[cfg(unix)]
pub(crate) fn signals() -> mpsc::Receiver<u32> {
    use tokio::signal::unix::{SignalKind, signal};

    let (sender, receiver) = mpsc::channel(16);
    for (kind, number) in [
        (SignalKind::hangup(), linux::SIGHUP),
        (SignalKind::interrupt(), linux::SIGINT),
        (SignalKind::quit(), linux::SIGQUIT),
        (SignalKind::user_defined1(), linux::SIGUSR1),
        (SignalKind::user_defined2(), linux::SIGUSR2),
        (SignalKind::alarm(), linux::SIGALRM),
        (SignalKind::terminate(), linux::SIGTERM),
    ] {
        let Ok(mut stream) = signal(kind) else {
            continue;
        };
        let sender = sender.clone();
        tokio::spawn(async move {
            while stream.recv().await.is_some() && sender.send(number).await.is_ok() {}
        });
    }
    receiver
}

/// Ctrl-C and Ctrl-Break of the console.
#[cfg(not(unix))]
pub(crate) fn signals() -> mpsc::Receiver<u32> {
    let (sender, receiver) = mpsc::channel(16);
    tokio::spawn(async move {
        while tokio::signal::ctrl_c().await.is_ok() && sender.send(linux::SIGINT).await.is_ok() {}
    });
    receiver
}

/// The terminal's size each time that it changes.
#[cfg(unix)]
pub(crate) fn resizes() -> mpsc::Receiver<TerminalSize> {
    use tokio::signal::unix::{SignalKind, signal};

    let (sender, receiver) = mpsc::channel(1);
    if let Ok(mut changes) = signal(SignalKind::window_change()) {
        tokio::spawn(async move {
            while changes.recv().await.is_some() {
                let Some(size) = super::size() else { continue };
                if sender.send(size).await.is_err() {
                    break;
                }
            }
        });
    }
    receiver
}

/// A console tells of its size only in its input, which belongs to the container: it is asked
/// four times a second, as the Docker CLI does.
#[cfg(not(unix))]
pub(crate) fn resizes() -> mpsc::Receiver<TerminalSize> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut last = super::size();
        loop {
            tokio::time::sleep(std::time::Duration::from_millis(250)).await;
            let now = super::size();
            if now != last
                && let Some(size) = now
            {
                if sender.send(size).await.is_err() {
                    break;
                }
                last = now;
            }
        }
    });
    receiver
}

//! Copies of a container's files, and what may not wait for them.

use std::io::{self, Write};

use super::*;
use crate::files::CopyOut;

/// Takes nothing until it is told to give up, as a client that does not read.
struct Stuck(tokio_util::sync::CancellationToken, tokio::sync::watch::Sender<bool>);

impl Write for Stuck {
    fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
        self.1.send_replace(true);
        tokio::runtime::Handle::current().block_on(self.0.cancelled());
        Err(io::ErrorKind::ConnectionAborted.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_forced_removal_does_not_wait_for_a_client_that_does_not_read() {
    let bench = Bench::new();
    let containers = bench.open();
    containers.create("box", config(&["true"])).await.unwrap();
    let upper = containers.inspect("box").unwrap().folder.join("upper");
    std::fs::write(upper.join("file"), "x").unwrap();
    let (writes, mut written) = tokio::sync::watch::channel(false);
    let out = Stuck(containers.forced_removal("box").unwrap(), writes);
    let what = CopyOut { path: "/file".into(), follow: false, name: "file".into() };
    let handle = containers.clone();
    let copy = tokio::spawn(async move { handle.copy_out("box", what, out).await });
    within(written.wait_for(|written| *written)).await.unwrap();
    within(containers.remove("box", true, false)).await.unwrap();
    within(copy).await.unwrap().expect_err("it was cut off");
    assert_eq!(bench.folders(), 0);
}

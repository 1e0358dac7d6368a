//! A shared folder of the host against the VM's own disk and against the host itself.

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{figure::Figure, host::Host, runtimes::IMAGE};

/// As many small files as a middling source tree has.
const SMALL_FILES: usize = 10_000;
/// One big file, MiB.
const BIG: usize = 64;

/// The same work in three places, each once: a run is ten thousand operations.
pub(crate) fn files(host: &Host, target: &Path) -> Result<Vec<Figure>> {
    let shared = tempfile::Builder::new().prefix("lsbench-files-").tempdir()?;
    let (count, mib) = (SMALL_FILES.to_string(), BIG.to_string());
    let folder = shared.path().join("host").to_string_lossy().into_owned();
    let checker = target.join("guest/x86_64-unknown-linux-gnu/guest/linkspan-checker");
    let native = Command::new(&checker)
        .args(["time-files", &folder, &count, &mib])
        .output()
        .with_context(|| checker.display().to_string())?;
    ensure!(native.status.success(), "{}", String::from_utf8_lossy(&native.stderr));
    let inside = |volume: &str| -> Result<Vec<u8>> {
        // Privileged: it makes the VM's kernel drop its caches.
        let flags = ["run", "--rm", "--privileged", "-v", volume, IMAGE];
        let tool = ["/checker", "time-files", "/work/files", &count, &mib];
        Ok(host.run(&[&flags[..], &tool].concat())?.stdout)
    };
    let bind = format!("{}:/work", shared.path().display());
    let places = [
        ("host", native.stdout),
        ("VM's disk", inside("bench-files:/work")?),
        ("shared folder", inside(&bind)?),
    ];
    let mut figures = Vec::new();
    for (place, output) in places {
        let report: Value = serde_json::from_slice(&output)?;
        let millis = |key: &str| report[key].as_f64().with_context(|| format!("no `{key}`"));
        for (key, what) in [
            ("create", "create"),
            ("stat", "stat"),
            ("stat_cached", "stat again"),
            ("read", "open and read"),
            ("read_cached", "open and read again"),
        ] {
            let each = millis(key)? * 1000.0 / SMALL_FILES as f64;
            figures.push(Figure::new(format!("{place}: {what} a 1 KiB file"), "us", vec![each]));
        }
        for (key, what) in [("write", "write 64 MiB and sync"), ("stream", "read 64 MiB")] {
            let rate = (BIG << 20) as f64 / 1e3 / millis(key)?;
            figures.push(Figure::new(format!("{place}: {what}"), "MB/s", vec![rate]));
        }
    }
    Ok(figures)
}

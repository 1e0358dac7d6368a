//! Times the import of a root file system: `unpack [ARCHIVE [RUNS [STORE]]]`.
//!
//! Without an archive, a tar of 20,000 small and 40 large files (about 400 MB) is made.

use std::error::Error;
use std::fs::{self, File};
use std::io::{BufReader, BufWriter};
use std::path::{Path, PathBuf};
use std::time::Instant;

use linkspan_images::{ImportOptions, Phase, Store};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let scratch = std::env::temp_dir().join(format!("linkspan-unpack-{}", std::process::id()));
    fs::create_dir_all(&scratch)?;
    let archive = match arguments.next() {
        Some(path) => PathBuf::from(path),
        None => make_archive(&scratch)?,
    };
    let runs: u32 = arguments.next().and_then(|runs| runs.to_str()?.parse().ok()).unwrap_or(3);
    let root = arguments.next().map_or_else(|| scratch.join("store"), PathBuf::from);
    for run in 1..=runs {
        // Each into a store of its own: a layer that is there already would not be published.
        let path = root.join(run.to_string());
        let store = Store::open(&path)?;
        let start = Instant::now();
        let mut unpacked = None;
        let loaded =
            store.import(File::open(&archive)?, &ImportOptions::default(), |progress| {
                if progress.phase == Phase::Syncing {
                    unpacked = Some(start.elapsed());
                }
            })?;
        let (total, usage) = (start.elapsed(), store.usage());
        let unpacked = unpacked.unwrap_or(total);
        let rate = usage.layers_bytes as f64 / 1e6 / unpacked.as_secs_f64();
        println!(
            "run {run}: unpack {:.3} s ({rate:.0} MB/s of files), then sync {:.3} s; {} bytes, id {}",
            unpacked.as_secs_f64(),
            (total - unpacked).as_secs_f64(),
            usage.layers_bytes,
            loaded.id.short(),
        );
        drop(store);
        fs::remove_dir_all(&path)?;
    }
    fs::remove_dir_all(&scratch)?;
    Ok(())
}

fn make_archive(folder: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let path = folder.join("archive.tar");
    let mut tar = tar::Builder::new(BufWriter::new(File::create(&path)?));
    let mut add = |name: String, size: u64| -> std::io::Result<()> {
        let mut header = tar::Header::new_ustar();
        header.set_size(size);
        header.set_mode(0o644);
        header.set_mtime(1);
        let contents = std::io::Read::take(std::io::repeat(b'x'), size);
        tar.append_data(&mut header, name, BufReader::new(contents))
    };
    for n in 0..20_000_u64 {
        add(format!("usr/share/{}/{}/{n}", n / 1000, n / 50), n % 9000)?;
    }
    for n in 0..40 {
        add(format!("usr/lib/{n}.so"), 8 << 20)?;
    }
    tar.finish()?;
    Ok(path)
}

//! The template of the data disk: a small, empty ext4 that the agent copies to a blank disk and
//! then grows, so that the guest carries no mke2fs.
//!
//! File format (`data.ext4.tmpl`): one zstd frame of the magic `LSX1`, the file system's size as
//! u64, then records of u64 offset, u32 length and that many bytes, all little-endian, until the
//! end. What no record names is zero.
//!
//! The file system's shape:
//! - Group descriptors are reserved for growth to 8 TiB, so growing never moves data.
//! - The inode tables count as zeroed: a blank disk is, and the kernel then zeroes nothing in the
//!   background. For the groups that growth adds, the same takes the mount option `noinit_itable`.
//! - 32 MiB of journal: it can never grow, and a host's disk file soon holds all of it.

use std::io::{self, Read, Write};

use anyhow::{Context as _, Result, ensure};

use crate::{cache::load, process};

const MAGIC: [u8; 4] = *b"LSX1";

/// Size of the empty file system.
pub(crate) const SIZE: u64 = 256 << 20;

const BLOCK: usize = 4096;

/// Longest record: what the agent must hold in memory at once.
const LONGEST_RECORD: usize = 1 << 20;

/// A template must not take the guest's memory, whatever its header says.
const LARGEST: u64 = 64 << 30;

/// Everything that mke2fs would otherwise take from its configuration, the clock or chance.
const FEATURES: &str = "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,\
    flex_bg,sparse_super,large_file,huge_file,dir_nlink,extra_isize,metadata_csum";
const EXTENDED: &str = "resize=2147483648,lazy_itable_init=0,lazy_journal_init=1,nodiscard,\
    root_owner=0:0,hash_seed=6c696e6b-7370-616e-0000-000000000002";
const UUID: &str = "6c696e6b-7370-616e-0000-000000000001";

/// Makes the template with the host's mke2fs.
pub(crate) fn make(epoch: u64) -> Result<Vec<u8>> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let path = folder.path().join("data.ext4");
    let file = std::fs::File::create(&path)?;
    file.set_len(SIZE).with_context(|| format!("cannot make `{}`", path.display()))?;
    drop(file);
    let mut command = process::command("mke2fs");
    command
        .args(["-q", "-F", "-t", "ext4", "-O", FEATURES, "-E", EXTENDED, "-U", UUID])
        .args(["-L", "linkspan", "-b", "4096", "-I", "256", "-i", "16384", "-m", "0"])
        .args(["-G", "16", "-J", "size=32", "-e", "remount-ro"])
        .arg(&path)
        .env("MKE2FS_CONFIG", "/dev/null")
        .env("E2FSPROGS_FAKE_TIME", epoch.to_string())
        .env("SOURCE_DATE_EPOCH", epoch.to_string());
    process::output(&mut command).context("cannot make the data disk's template")?;
    let file_system = load(&path)?;
    check_growth(&file_system)?;
    let template = write(&file_system)?;
    check_round_trip(&template, &file_system)?;
    Ok(template)
}

/// A template that cannot be read back would show only at the first boot of a machine.
fn check_round_trip(template: &[u8], file_system: &[u8]) -> Result<()> {
    let mut disk = vec![0; file_system.len()];
    let size = read(template, |offset, bytes| {
        let at = usize::try_from(offset).map_err(io::Error::other)?;
        disk[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(())
    })?;
    ensure!(size == SIZE && disk == file_system, "the template does not give back its file system");
    Ok(())
}

/// mke2fs takes wishes without a word when it cannot fulfil them.
fn check_growth(file_system: &[u8]) -> Result<()> {
    // s_reserved_gdt_blocks of `struct ext4_super_block`, which starts at byte 1024.
    let reserved = file_system.get(1024 + 0xce..).and_then(<[u8]>::first_chunk);
    let reserved = u16::from_le_bytes(*reserved.context("the template is too short")?);
    ensure!(
        reserved >= 1000,
        "the template reserves {reserved} descriptor blocks, too few to grow"
    );
    Ok(())
}

/// Packs a file system into the template's format.
pub(crate) fn write(file_system: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 19)?;
    encoder.write_all(&MAGIC)?;
    encoder.write_all(&(file_system.len() as u64).to_le_bytes())?;
    for (offset, bytes) in runs(file_system) {
        encoder.write_all(&(offset as u64).to_le_bytes())?;
        encoder.write_all(&u32::try_from(bytes.len())?.to_le_bytes())?;
        encoder.write_all(bytes)?;
    }
    encoder.finish().context("cannot pack the data disk's template")
}

/// The stretches that are not zero, in whole blocks.
fn runs(content: &[u8]) -> Vec<(usize, &[u8])> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for (index, block) in content.chunks(BLOCK).enumerate() {
        if block.iter().all(|byte| *byte == 0) {
            continue;
        }
        let (from, to) = (index * BLOCK, index * BLOCK + block.len());
        match runs.last_mut() {
            Some((start, end)) if *end == from && to - *start <= LONGEST_RECORD => *end = to,
            _ => runs.push((from, to)),
        }
    }
    runs.into_iter().map(|(from, to)| (from, &content[from..to])).collect()
}

/// Why a template cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TemplateError {
    #[error("it is not a template of a data disk: it starts with {0:?}")]
    Magic([u8; 4]),
    #[error("it says that the file system has {0} bytes")]
    Size(u64),
    #[error("a record of {length} bytes at {offset} lies outside the file system of {size} bytes")]
    Record { offset: u64, length: u32, size: u64 },
    #[error("cannot read the template")]
    Io(#[from] io::Error),
}

/// Unpacks a template onto a blank disk, which `put` writes; returns the file system's size.
///
/// The agent has its own reader; this one proves here that what was written can be read.
pub(crate) fn read(
    template: &[u8],
    mut put: impl FnMut(u64, &[u8]) -> io::Result<()>,
) -> Result<u64, TemplateError> {
    let mut source = zstd::Decoder::new(template)?;
    let magic: [u8; 4] = take(&mut source)?;
    if magic != MAGIC {
        return Err(TemplateError::Magic(magic));
    }
    let size = u64::from_le_bytes(take(&mut source)?);
    if size > LARGEST {
        return Err(TemplateError::Size(size));
    }
    let mut content = Vec::new();
    loop {
        let mut first = [0];
        if source.read(&mut first)? == 0 {
            return Ok(size);
        }
        let rest: [u8; 7] = take(&mut source)?;
        let mut offset = [first[0]; 8];
        offset[1..].copy_from_slice(&rest);
        let offset = u64::from_le_bytes(offset);
        let length = u32::from_le_bytes(take(&mut source)?);
        let fits = offset.checked_add(length.into()).is_some_and(|end| end <= size);
        if !fits || length as usize > LONGEST_RECORD {
            return Err(TemplateError::Record { offset, length, size });
        }
        content.resize(length as usize, 0);
        source.read_exact(&mut content)?;
        put(offset, &content)?;
    }
}

fn take<const N: usize>(source: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    source.read_exact(&mut bytes).map(|()| bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpack(template: &[u8]) -> Result<Vec<u8>, TemplateError> {
        let mut disk = vec![0; 16 << 20];
        let size = read(template, |offset, bytes| {
            let at = usize::try_from(offset).unwrap();
            disk[at..at + bytes.len()].copy_from_slice(bytes);
            Ok(())
        })?;
        disk.truncate(usize::try_from(size).unwrap());
        Ok(disk)
    }

    fn sparse() -> Vec<u8> {
        let mut content = vec![0; 9 * (1 << 20) + 77];
        content[1024..5000].fill(0x11);
        content[3 << 20..6 << 20].fill(0x22);
        *content.last_mut().unwrap() = 0x33;
        content
    }

    #[test]
    fn a_template_gives_back_the_file_system() {
        let template = write(&sparse()).unwrap();
        assert!(template.len() < 10_000);
        assert!(unpack(&template).unwrap() == sparse());
        assert!(unpack(&write(&vec![0; 5000]).unwrap()).unwrap() == vec![0; 5000]);
    }

    #[test]
    fn damaged_templates_are_errors() {
        let packed = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
        assert!(matches!(unpack(&packed(b"LSX9........")), Err(TemplateError::Magic(_))));
        let mut outside = b"LSX1".to_vec();
        outside.extend_from_slice(&8192_u64.to_le_bytes());
        outside.extend_from_slice(&8190_u64.to_le_bytes());
        outside.extend_from_slice(&3_u32.to_le_bytes());
        outside.extend_from_slice(b"abc");
        let error = unpack(&packed(&outside)).unwrap_err();
        assert!(matches!(error, TemplateError::Record { offset: 8190, .. }), "{error}");
        let cut = &outside[..outside.len() - 6];
        assert!(matches!(unpack(&packed(cut)), Err(TemplateError::Io(_))));
    }

    #[test]
    fn the_real_template_is_small_reproducible_and_clean() {
        if process::command("mke2fs").arg("-V").output().is_err() {
            eprintln!("skipped: there is no mke2fs");
            return;
        }
        let template = make(1_767_225_600).unwrap();
        assert!(template == make(1_767_225_600).unwrap(), "two runs gave different templates");
        assert!(template.len() < 64 << 10, "{} bytes", template.len());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        let disk = std::fs::File::create(&path).unwrap();
        let put =
            |offset, bytes: &[u8]| std::os::unix::fs::FileExt::write_all_at(&disk, bytes, offset);
        let size = read(&template, put).unwrap();
        assert_eq!(size, SIZE);
        disk.set_len(size).unwrap();
        let mut check = process::command("e2fsck");
        process::output(check.args(["-f", "-n"]).arg(&path)).unwrap();
    }
}

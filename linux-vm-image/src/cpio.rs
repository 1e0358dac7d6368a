//! Writes "newc" cpio archives, the format of the initramfs
//! (the kernel's `Documentation/driver-api/early-userspace/buffer-format.rst`).
//!
//! Reproducible: inode numbers count up from 1, every owner is root, every time is 0 and the
//! caller's order is kept. Hard links are not written: nothing here has any.

use std::io::{self, Write};

const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_000;
const CHARACTER: u32 = 0o020_000;

/// An archive that is being written.
pub(crate) struct Writer<W: Write> {
    sink: W,
    written: u64,
    inode: u32,
}

/// Why an entry cannot be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CpioError {
    /// The header has 32 bits for a size.
    #[error("`{name}` is too large for a cpio archive: {size} bytes")]
    TooLarge { name: String, size: usize },
    /// The kernel takes names as they are, relative to its root.
    #[error("`{0}` cannot be a name in a cpio archive: it must be relative and without `..`")]
    Name(String),
    /// The sink refused.
    #[error("cannot write the cpio archive at byte {at}")]
    Io {
        at: u64,
        #[source]
        source: io::Error,
    },
}

impl<W: Write> Writer<W> {
    pub(crate) fn new(sink: W) -> Self {
        Self { sink, written: 0, inode: 0 }
    }

    /// `permissions` are the lower 12 bits of the mode.
    pub(crate) fn directory(&mut self, name: &str, permissions: u32) -> Result<(), CpioError> {
        self.entry(name, DIRECTORY | permissions, 2, (0, 0), &[])
    }

    pub(crate) fn file(
        &mut self,
        name: &str,
        permissions: u32,
        content: &[u8],
    ) -> Result<(), CpioError> {
        self.entry(name, REGULAR | permissions, 1, (0, 0), content)
    }

    pub(crate) fn symlink(&mut self, name: &str, target: &str) -> Result<(), CpioError> {
        self.entry(name, SYMLINK | 0o777, 1, (0, 0), target.as_bytes())
    }

    pub(crate) fn character_device(
        &mut self,
        name: &str,
        permissions: u32,
        device: (u32, u32),
    ) -> Result<(), CpioError> {
        self.entry(name, CHARACTER | permissions, 1, device, &[])
    }

    /// Writes the end mark. The archive is complete only then.
    pub(crate) fn finish(mut self) -> Result<W, CpioError> {
        self.raw(0, "TRAILER!!!", 0, 1, (0, 0), &[])?;
        Ok(self.sink)
    }

    fn entry(
        &mut self,
        name: &str,
        mode: u32,
        links: u32,
        device: (u32, u32),
        content: &[u8],
    ) -> Result<(), CpioError> {
        let bad = |part: &str| part.is_empty() || part == "." || part == "..";
        if name.split('/').any(bad) || name.contains('\0') || name == "TRAILER!!!" {
            return Err(CpioError::Name(name.into()));
        }
        self.inode += 1;
        self.raw(self.inode, name, mode, links, device, content)
    }

    fn raw(
        &mut self,
        inode: u32,
        name: &str,
        mode: u32,
        links: u32,
        (major, minor): (u32, u32),
        content: &[u8],
    ) -> Result<(), CpioError> {
        let too_large = || CpioError::TooLarge { name: name.into(), size: content.len() };
        let size = u32::try_from(content.len()).map_err(|_| too_large())?;
        let name_size = u32::try_from(name.len() + 1).map_err(|_| too_large())?;
        let mut header = String::from("070701");
        // inode, mode, uid, gid, links, time, size, device of the file system, device, name, sum
        for field in [inode, mode, 0, 0, links, 0, size, 0, 0, major, minor, name_size, 0] {
            header.push_str(&format!("{field:08x}"));
        }
        self.put(header.as_bytes())?;
        self.put(name.as_bytes())?;
        self.put(&[0])?;
        self.align()?;
        self.put(content)?;
        self.align()
    }

    fn align(&mut self) -> Result<(), CpioError> {
        let padding = usize::try_from(self.written.wrapping_neg() % 4).unwrap_or(0);
        self.put(&[0; 3][..padding])
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), CpioError> {
        let io = |source| CpioError::Io { at: self.written, source };
        self.sink.write_all(bytes).map_err(io)?;
        self.written += bytes.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write as _,
        process::{Command, Stdio},
    };

    use super::*;

    fn sample() -> Vec<u8> {
        let mut writer = Writer::new(Vec::new());
        writer.directory("bin", 0o755).unwrap();
        writer.file("bin/tool", 0o755, b"12345").unwrap();
        writer.symlink("bin/sh", "tool").unwrap();
        writer.directory("dev", 0o755).unwrap();
        writer.character_device("dev/console", 0o600, (5, 1)).unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn the_cpio_program_lists_what_was_written() {
        let child = Command::new("cpio")
            .args(["-t", "-v", "--quiet"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut child) = child else {
            eprintln!("skipped: there is no cpio program");
            return;
        };
        child.stdin.take().unwrap().write_all(&sample()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let listing = String::from_utf8(output.stdout).unwrap();
        let starts: Vec<&str> =
            listing.lines().map(|line| line.split_whitespace().next().unwrap()).collect();
        assert_eq!(
            starts,
            ["drwxr-xr-x", "-rwxr-xr-x", "lrwxrwxrwx", "drwxr-xr-x", "crw-------"],
            "{listing}"
        );
        assert!(listing.contains("bin/sh -> tool"), "{listing}");
        assert!(listing.contains("5,   1"), "{listing}");
    }

    #[test]
    fn every_header_starts_at_a_multiple_of_four() {
        let archive = sample();
        let starts: Vec<usize> =
            (0..archive.len() - 5).filter(|at| &archive[*at..at + 6] == b"070701").collect();
        assert_eq!(starts.len(), 6);
        assert!(starts.iter().all(|start| start % 4 == 0), "{starts:?}");
    }

    #[test]
    fn the_same_entries_give_the_same_bytes() {
        assert_eq!(sample(), sample());
    }

    #[test]
    fn names_that_leave_the_root_are_refused() {
        let mut writer = Writer::new(Vec::new());
        for name in ["/bin", "a/../b", "", "a//b", "./a"] {
            assert!(matches!(writer.directory(name, 0o755), Err(CpioError::Name(_))), "{name}");
        }
    }
}

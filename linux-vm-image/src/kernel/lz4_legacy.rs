//! Reads the LZ4 "legacy frame", the form in which `lz4 -l` packs kernels: the magic, then blocks,
//! each with its compressed size as a little-endian word, each at most 8 MiB unpacked
//! (`doc/lz4_Frame_format.md` of LZ4, "Legacy frame"). The blocks themselves are the crate's.

use std::io;

use lz4::block::CompressionMode;

/// First bytes of a legacy frame.
pub(crate) const MAGIC: [u8; 4] = [0x02, 0x21, 0x4c, 0x18];

/// What one block unpacks to at most.
const BLOCK: usize = 8 << 20;
/// The same as LZ4 counts.
const BLOCK_I32: i32 = 8 << 20;

/// As `lz4 -9`: a fifth smaller than without, and quicker to unpack for it.
const EFFORT: CompressionMode = CompressionMode::HIGHCOMPRESSION(9);

/// Why a frame cannot be unpacked.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Lz4Error {
    #[error("it does not start with the magic of an LZ4 legacy frame")]
    Magic,
    #[error("block {block} is said to have {size} bytes, {left} are left")]
    Truncated { block: usize, size: usize, left: usize },
    #[error("block {block} cannot be unpacked: {why}")]
    Block { block: usize, why: String },
}

/// Unpacks a whole frame.
pub(crate) fn decompress(frame: &[u8]) -> Result<Vec<u8>, Lz4Error> {
    let mut rest = frame.strip_prefix(&MAGIC).ok_or(Lz4Error::Magic)?;
    let mut unpacked = Vec::new();
    let mut buffer = vec![0; BLOCK];
    for block in 0.. {
        let Some((size, after)) = rest.split_first_chunk::<4>() else { break };
        let size = u32::from_le_bytes(*size) as usize;
        if size > after.len() {
            return Err(Lz4Error::Truncated { block, size, left: after.len() });
        }
        let (packed, after) = after.split_at(size);
        let count = lz4::block::decompress_to_buffer(packed, Some(BLOCK_I32), &mut buffer)
            .map_err(|error| Lz4Error::Block { block, why: error.to_string() })?;
        unpacked.extend_from_slice(&buffer[..count]);
        rest = after;
    }
    Ok(unpacked)
}

/// Packs a frame: the counterpart that the initramfs and the tests use.
///
/// # Errors
/// When there is no memory for it.
pub(crate) fn compress(content: &[u8]) -> io::Result<Vec<u8>> {
    let mut frame = MAGIC.to_vec();
    for block in content.chunks(BLOCK) {
        let packed = lz4::block::compress(block, Some(EFFORT), false)?;
        // A block is at most 8 MiB and LZ4 adds less than one percent to what it cannot pack.
        frame.extend_from_slice(&u32::try_from(packed.len()).unwrap_or(u32::MAX).to_le_bytes());
        frame.extend_from_slice(&packed);
    }
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content() -> Vec<u8> {
        // More than one block, and something that packs.
        (0..BLOCK + 12_345).map(|index| (index / 7 % 251) as u8).collect()
    }

    #[test]
    fn a_frame_of_two_blocks_comes_back() {
        assert_eq!(decompress(&compress(&content()).unwrap()).unwrap(), content());
    }

    #[test]
    fn a_cut_frame_is_an_error() {
        let frame = compress(&content()).unwrap();
        let error = decompress(&frame[..frame.len() - 9]).unwrap_err();
        assert!(matches!(error, Lz4Error::Truncated { block: 1, .. }), "{error}");
    }

    #[test]
    fn another_format_is_an_error() {
        assert_eq!(decompress(b"\x1f\x8bnot this"), Err(Lz4Error::Magic));
    }

    #[test]
    fn the_lz4_program_reads_what_we_pack() {
        use std::io::Write as _;
        use std::process::{Command, Stdio};
        let child = Command::new("lz4")
            .args(["-d", "-c"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut child) = child else {
            eprintln!("skipped: there is no lz4 program");
            return;
        };
        let mut stdin = child.stdin.take().unwrap();
        let writer = std::thread::spawn(move || stdin.write_all(&compress(&content()).unwrap()));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        assert!(output.status.success() && output.stdout == content());
    }
}

//! Takes the ELF kernel out of a bzImage, so that a VM can start it without unpacking it first.
//!
//! Where the payload lies comes from the boot protocol's header (the kernel's
//! `Documentation/arch/x86/boot.rst`, fields `setup_sects`, `payload_offset`, `payload_length`,
//! protocol 2.08 and later), not from a search for magic numbers.

use std::io::{self, Read};

use super::lz4_legacy::{self, Lz4Error};

const SETUP_SECTS: usize = 0x1f1;
const HEADER_MAGIC: usize = 0x202;
const VERSION: usize = 0x206;
const PAYLOAD_OFFSET: usize = 0x248;
const PAYLOAD_LENGTH: usize = 0x24c;

/// Why there is no kernel to be had from the file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BzImageError {
    #[error("it is not a bzImage: {0}")]
    NotBzImage(String),
    #[error("its payload of {length} bytes at {start} lies outside the file of {size} bytes")]
    Outside { start: usize, length: usize, size: usize },
    #[error("its payload is packed in a way that is not known here (it starts with {0})")]
    UnknownCompression(String),
    #[error("cannot unpack its LZ4 payload")]
    Lz4(#[from] Lz4Error),
    #[error("cannot unpack its {method} payload")]
    Unpack {
        method: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("its payload unpacks to {found} bytes, its end says {said}")]
    Size { found: usize, said: u32 },
}

/// The unpacked payload: an ELF file, on some kernels with relocations after its end.
pub(crate) fn extract(image: &[u8]) -> Result<Vec<u8>, BzImageError> {
    let payload = payload(image)?;
    let head = &payload[..payload.len().min(6)];
    // Every method but gzip, which has it built in, is followed by the unpacked size.
    let sized = |length: usize| payload.split_at(payload.len().saturating_sub(length)).0;
    let unpacked = if head.starts_with(&lz4_legacy::MAGIC) {
        lz4_legacy::decompress(sized(4))?
    } else if head.starts_with(&[0x1f, 0x8b]) {
        read("gzip", flate2::read::GzDecoder::new(payload))?
    } else if head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        let decoder = zstd::stream::read::Decoder::with_buffer(payload);
        let decoder = decoder.map_err(|source| BzImageError::Unpack { method: "zstd", source })?;
        read("zstd", decoder.single_frame())?
    } else if head.starts_with(b"\xfd7zXZ\0") {
        read("xz", liblzma::read::XzDecoder::new(payload))?
    } else {
        return Err(BzImageError::UnknownCompression(hex::encode(head)));
    };
    let said = word(payload, payload.len().saturating_sub(4))?;
    if u32::try_from(unpacked.len()).ok() != Some(said) {
        return Err(BzImageError::Size { found: unpacked.len(), said });
    }
    Ok(unpacked)
}

fn payload(image: &[u8]) -> Result<&[u8], BzImageError> {
    if image.get(HEADER_MAGIC..HEADER_MAGIC + 4) != Some(b"HdrS") {
        return Err(BzImageError::NotBzImage("it has no `HdrS` header".into()));
    }
    let version = word(image, VERSION)? & 0xffff;
    if version < 0x208 {
        let why = format!("its boot protocol {}.{:02} is too old", version >> 8, version & 0xff);
        return Err(BzImageError::NotBzImage(why));
    }
    // 0 means 4, for the oldest boot loaders' sake.
    let sectors = match image[SETUP_SECTS] {
        0 => 4,
        sectors => usize::from(sectors),
    };
    let start = (sectors + 1) * 512 + word(image, PAYLOAD_OFFSET)? as usize;
    let length = word(image, PAYLOAD_LENGTH)? as usize;
    let outside = BzImageError::Outside { start, length, size: image.len() };
    start.checked_add(length).and_then(|end| image.get(start..end)).ok_or(outside)
}

fn word(bytes: &[u8], at: usize) -> Result<u32, BzImageError> {
    let bytes = bytes.get(at..).and_then(<[u8]>::first_chunk);
    let short = || BzImageError::NotBzImage(format!("it ends before byte {}", at + 4));
    bytes.map(|word| u32::from_le_bytes(*word)).ok_or_else(short)
}

fn read(method: &'static str, mut source: impl Read) -> Result<Vec<u8>, BzImageError> {
    let mut unpacked = Vec::new();
    let failed = |source| BzImageError::Unpack { method, source };
    source.read_to_end(&mut unpacked).map_err(failed)?;
    Ok(unpacked)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn kernel() -> Vec<u8> {
        (0..3_000_000_u32).flat_map(|value| (value / 5).to_le_bytes()).collect()
    }

    /// A bzImage with two setup sectors and some bytes of decompressor before the payload.
    fn bzimage(payload: &[u8]) -> Vec<u8> {
        let mut image = vec![0; 3 * 512 + 100];
        image[SETUP_SECTS] = 2;
        image[HEADER_MAGIC..HEADER_MAGIC + 4].copy_from_slice(b"HdrS");
        image[VERSION..VERSION + 2].copy_from_slice(&0x20f_u16.to_le_bytes());
        image[PAYLOAD_OFFSET..PAYLOAD_OFFSET + 4].copy_from_slice(&100_u32.to_le_bytes());
        let length = u32::try_from(payload.len()).unwrap();
        image[PAYLOAD_LENGTH..PAYLOAD_LENGTH + 4].copy_from_slice(&length.to_le_bytes());
        image.extend_from_slice(payload);
        image.extend_from_slice(b"what comes after the payload");
        image
    }

    fn sized(mut payload: Vec<u8>) -> Vec<u8> {
        payload.extend_from_slice(&u32::try_from(kernel().len()).unwrap().to_le_bytes());
        payload
    }

    #[test]
    fn the_kernel_comes_out_of_every_kind_of_payload() {
        let lz4 = sized(lz4_legacy::compress(&kernel()).unwrap());
        let zstd = sized(zstd::encode_all(&kernel()[..], 1).unwrap());
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 0);
        xz.write_all(&kernel()).unwrap();
        let xz = sized(xz.finish().unwrap());
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&kernel()).unwrap();
        let gzip = gzip.finish().unwrap();
        for (name, payload) in [("lz4", lz4), ("zstd", zstd), ("xz", xz), ("gzip", gzip)] {
            assert!(extract(&bzimage(&payload)).unwrap() == kernel(), "{name}");
        }
    }

    #[test]
    fn a_size_that_does_not_fit_is_an_error() {
        let mut payload = lz4_legacy::compress(&kernel()).unwrap();
        payload.extend_from_slice(&7_u32.to_le_bytes());
        let error = extract(&bzimage(&payload)).unwrap_err();
        assert!(matches!(error, BzImageError::Size { said: 7, .. }), "{error}");
    }

    #[test]
    fn a_payload_outside_the_file_is_an_error() {
        let image = bzimage(&sized(lz4_legacy::compress(&kernel()).unwrap()));
        let error = extract(&image[..image.len() / 2]).unwrap_err();
        assert!(matches!(error, BzImageError::Outside { .. }), "{error}");
    }

    #[test]
    fn other_files_are_refused_by_name_of_the_reason() {
        for file in [&b""[..], b"\x7fELF", &[0; 4096]] {
            assert!(extract(file).unwrap_err().to_string().contains("HdrS"));
        }
        let error = extract(&bzimage(b"no known magic")).unwrap_err().to_string();
        assert!(error.contains("6e6f206b6e6f"), "{error}");
    }
}

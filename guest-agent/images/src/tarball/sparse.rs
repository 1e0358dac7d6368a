//! Where the data of a file with holes belongs.

use super::{Fault, bad};

/// More parts than this are an attack on the memory.
pub(super) const MAX_SEGMENTS: u64 = 1 << 20;

/// The parts that have data, and the size with holes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Map {
    /// Offset and length of each part, in the order of their data.
    pub(crate) segments: Vec<(u64, u64)>,
    /// The file's size.
    pub(crate) real_size: u64,
}

impl Map {
    pub(super) fn new(segments: Vec<(u64, u64)>, real_size: u64) -> Self {
        Self { segments, real_size }
    }

    /// The parts are in order, within the size, and account for the stored bytes.
    pub(super) fn check(&self, stored: u64) -> Result<(), Fault> {
        let mut end = 0;
        let mut total = 0_u64;
        for (offset, length) in &self.segments {
            let next = offset.checked_add(*length).filter(|next| *next <= self.real_size);
            match next {
                Some(next) if *offset >= end => end = next,
                _ => return Err(bad("a sparse map is out of order")),
            }
            total = total.saturating_add(*length);
        }
        if total != stored {
            return Err(bad("a sparse map does not fit its data"));
        }
        Ok(())
    }
}

//! Changes inputs: bits, bytes, numbers at the edge, parts that are lost, repeated or moved
//! between inputs.

use rand::{Rng as _, rngs::StdRng, seq::IndexedRandom as _};

const BLOCK: usize = 512;
/// Where a tar header has its checksum (POSIX ustar).
const CHECKSUM: std::ops::Range<usize> = 148..156;

/// Values where parsers go wrong.
const EDGES: &[&[u8]] = &[
    b"\0",
    b"\xff",
    b"\x7f",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\xff\xff\xff\xff\xff",
    b"77777777777\0",
    b"-1",
    b"18446744073709551616",
    b"../",
    b"/",
    b"\"",
    b"[[[[[[[[",
    b"\xc0\x0c",
    b"\xed\xa0\x80",
];

/// An input made of one or two of `seeds`. With `tar`, headers mostly get a checksum that fits,
/// as a hostile archive would have it.
pub fn mutate(random: &mut StdRng, seeds: &[Vec<u8>], tar: bool) -> Vec<u8> {
    let mut input = seeds.choose(random).cloned().unwrap_or_default();
    for _ in 0..random.random_range(1..=6) {
        change(random, &mut input, seeds);
    }
    if tar && random.random_ratio(9, 10) {
        seal(&mut input);
    }
    input
}

fn change(random: &mut StdRng, input: &mut Vec<u8>, seeds: &[Vec<u8>]) {
    let at = random.random_range(0..=input.len());
    let part = |random: &mut StdRng, length: usize| {
        let begin = random.random_range(0..=length);
        begin..(begin + random.random_range(0..=64)).min(length)
    };
    match random.random_range(0..7) {
        0 => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << random.random_range(0..8);
            }
        }
        1 => {
            if let Some(byte) = input.get_mut(at) {
                *byte = random.random();
            }
        }
        2 => {
            let edge = EDGES.choose(random).copied().unwrap_or_default();
            for (byte, value) in input.iter_mut().skip(at).zip(edge) {
                *byte = *value;
            }
        }
        3 => {
            let edge = EDGES.choose(random).copied().unwrap_or_default();
            input.splice(at..at, edge.iter().copied());
        }
        4 => {
            let range = part(random, input.len());
            input.drain(range);
        }
        5 => {
            let other = seeds.choose(random).map_or(&[][..], Vec::as_slice);
            let bytes = other[part(random, other.len())].to_vec();
            input.splice(at..at, bytes);
        }
        _ => input.truncate(at),
    }
}

/// Gives every block that looks like a header (POSIX ustar's magic) the checksum that it needs.
fn seal(input: &mut [u8]) {
    for block in input.chunks_exact_mut(BLOCK) {
        if &block[257..262] != b"ustar" {
            continue;
        }
        block[CHECKSUM].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
}

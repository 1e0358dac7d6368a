//! Reads and repacks ELF kernels.
//!
//! `pack` keeps exactly what a loader puts into memory: the loadable segments and the notes, which
//! hold the PVH entry point. Sections and symbols go, and so do long runs of padding: pages of
//! zeros become the not-stored part of a segment (a loader zeroes it, by the ELF rules), and so do
//! pages of `0xcc`, with which the linker fills the text up to the next 2 MiB and which no code
//! path reaches. A quarter of a small kernel is such padding.

use object::{
    LittleEndian as Le, U16, U64,
    elf::{self, FileHeader64, ProgramHeader64},
    pod,
    read::elf::{FileHeader as _, ProgramHeader as _},
};

/// Type of the Xen note that names the PVH entry point (`include/xen/interface/elfnote.h`).
const XEN_ELFNOTE_PHYS32_ENTRY: u32 = 18;

const PAGE: usize = 4096;

/// Runs shorter than this stay: each one costs a segment.
const SHORTEST_RUN: usize = 16 * PAGE;

/// Why a file is not a kernel that can be booted directly.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ElfError {
    #[error("it is not a 64-bit little-endian ELF file: {0}")]
    NotElf(object::read::Error),
    #[error("it is for another machine (ELF machine {0}, x86-64 is 62)")]
    Machine(u16),
    #[error("segment {0} lies outside the file")]
    Segment(usize),
    #[error("it has no PVH entry point, which takes CONFIG_PVH")]
    NoPvh,
}

/// Checks that `file` is an x86-64 ELF kernel with a PVH entry point.
pub(crate) fn check(file: &[u8]) -> Result<(), ElfError> {
    let (header, segments) = parse(file)?;
    let machine = header.e_machine(Le);
    if machine != elf::EM_X86_64 {
        return Err(ElfError::Machine(machine.0));
    }
    for segment in segments {
        let Some(notes) = segment.notes(Le, file).map_err(ElfError::NotElf)? else { continue };
        for note in notes {
            let note = note.map_err(ElfError::NotElf)?;
            if note.name() == b"Xen" && note.n_type(Le).0 == XEN_ELFNOTE_PHYS32_ENTRY {
                return Ok(());
            }
        }
    }
    Err(ElfError::NoPvh)
}

/// The same kernel without what no loader reads.
pub(crate) fn pack(file: &[u8]) -> Result<Vec<u8>, ElfError> {
    check(file)?;
    let (header, segments) = parse(file)?;
    let mut headers: Vec<ProgramHeader64<Le>> = Vec::new();
    let mut contents: Vec<&[u8]> = Vec::new();
    for (index, segment) in segments.iter().enumerate() {
        let content = segment.data(Le, file).map_err(|()| ElfError::Segment(index))?;
        match segment.p_type(Le) {
            elf::PT_LOAD => {
                let runs = stored_runs(content);
                let memory = segment.p_memsz(Le).max(content.len() as u64);
                for (index, run) in runs.iter().enumerate() {
                    let end = runs.get(index + 1).map_or(memory, |next| next.0 as u64);
                    headers.push(piece(segment, *run, end));
                    contents.push(&content[run.0..run.1]);
                }
            }
            elf::PT_NOTE => {
                headers.push(*segment);
                contents.push(content);
            }
            _ => {}
        }
    }
    Ok(write(header, headers, &contents))
}

fn parse(file: &[u8]) -> Result<(&FileHeader64<Le>, &[ProgramHeader64<Le>]), ElfError> {
    let header = FileHeader64::<Le>::parse(file).map_err(ElfError::NotElf)?;
    header.endian().map_err(ElfError::NotElf)?;
    let segments = header.program_headers(Le, file).map_err(ElfError::NotElf)?;
    Ok((header, segments))
}

/// The parts of a segment worth storing; page-aligned inside, at least one even if empty.
fn stored_runs(content: &[u8]) -> Vec<(usize, usize)> {
    let padding = |page: &[u8]| {
        let first = page[0];
        (first == 0 || first == 0xcc) && page.iter().all(|byte| *byte == first)
    };
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for (index, page) in content.chunks(PAGE).enumerate() {
        if padding(page) {
            continue;
        }
        let (from, to) = (index * PAGE, index * PAGE + page.len());
        match runs.last_mut() {
            Some(last) if from - last.1 < SHORTEST_RUN => last.1 = to,
            // The first piece starts with the segment, so that all of it stays covered.
            None => runs.push((0, to)),
            _ => runs.push((from, to)),
        }
    }
    if runs.is_empty() {
        runs.push((0, 0));
    }
    runs
}

/// The header of one stored run. In memory it reaches to `end`, where the next run starts or the
/// segment ends: what it does not store is zeroed.
fn piece(
    segment: &ProgramHeader64<Le>,
    (from, to): (usize, usize),
    end: u64,
) -> ProgramHeader64<Le> {
    let mut piece = *segment;
    let (from, to) = (from as u64, to as u64);
    piece.p_vaddr = U64::new(Le, segment.p_vaddr.get(Le).wrapping_add(from));
    piece.p_paddr = U64::new(Le, segment.p_paddr.get(Le).wrapping_add(from));
    piece.p_filesz = U64::new(Le, to - from);
    piece.p_memsz = U64::new(Le, end - from);
    // No promise that file offset and address agree in their lower bits: nothing maps this file.
    piece.p_align = U64::new(Le, 1);
    piece
}

fn write(
    header: &FileHeader64<Le>,
    mut segments: Vec<ProgramHeader64<Le>>,
    contents: &[&[u8]],
) -> Vec<u8> {
    let mut file = vec![0; size_of::<FileHeader64<Le>>() + size_of_val(&segments[..])];
    for (segment, content) in segments.iter_mut().zip(contents) {
        file.resize(file.len().next_multiple_of(16), 0);
        segment.p_offset = U64::new(Le, file.len() as u64);
        file.extend_from_slice(content);
    }
    let mut header = *header;
    header.e_phoff = U64::new(Le, size_of::<FileHeader64<Le>>() as u64);
    // Each segment gives a handful of runs: the count is far below 65,536.
    header.e_phnum = U16::new(Le, u16::try_from(segments.len()).unwrap_or(u16::MAX));
    header.e_shoff = U64::new(Le, 0);
    header.e_shnum = U16::new(Le, 0);
    header.e_shstrndx = U16::new(Le, elf::SHN_UNDEF);
    let mut front = pod::bytes_of(&header).to_vec();
    front.extend_from_slice(pod::bytes_of_slice(&segments));
    file[..front.len()].copy_from_slice(&front);
    file
}

#[cfg(test)]
mod tests {
    use object::U32;

    use super::*;

    const LOAD_AT: u64 = 0x100_0000;

    fn header(
        kind: elf::ProgramType,
        offset: usize,
        file: usize,
        memory: u64,
    ) -> ProgramHeader64<Le> {
        ProgramHeader64 {
            p_type: U32::new(Le, kind),
            p_flags: U32::new(Le, elf::ProgramFlags(7)),
            p_offset: U64::new(Le, offset as u64),
            p_vaddr: U64::new(Le, 0xffff_ffff_8000_0000 + LOAD_AT),
            p_paddr: U64::new(Le, LOAD_AT),
            p_filesz: U64::new(Le, file as u64),
            p_memsz: U64::new(Le, memory),
            p_align: U64::new(Le, 4),
        }
    }

    fn note(kind: u32) -> Vec<u8> {
        let mut note = Vec::new();
        for word in [4_u32, 4, kind] {
            note.extend_from_slice(&word.to_le_bytes());
        }
        note.extend_from_slice(b"Xen\0");
        note.extend_from_slice(&0x100_0123_u32.to_le_bytes());
        note
    }

    /// A kernel with one loadable segment, its notes, and bytes that belong to neither.
    fn kernel(content: &[u8], memory: u64, note_kind: u32) -> Vec<u8> {
        let note = note(note_kind);
        let first = 1 << 16;
        let mut file = vec![0; first];
        file.extend_from_slice(content);
        let notes_at = file.len();
        file.extend_from_slice(&note);
        file.extend_from_slice(b"symbols and strings");
        let headers = [
            header(elf::PT_LOAD, first, content.len(), memory),
            header(elf::PT_NOTE, notes_at, note.len(), note.len() as u64),
        ];
        let mut front = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        for half in [2_u16, 62] {
            front.extend_from_slice(&half.to_le_bytes());
        }
        front.extend_from_slice(&1_u32.to_le_bytes());
        for long in [LOAD_AT, 64, 0] {
            front.extend_from_slice(&long.to_le_bytes());
        }
        front.extend_from_slice(&0_u32.to_le_bytes());
        for half in [64_u16, 56, 2, 64, 0, 0] {
            front.extend_from_slice(&half.to_le_bytes());
        }
        front.extend_from_slice(pod::bytes_of_slice(&headers));
        file[..front.len()].copy_from_slice(&front);
        file
    }

    /// What a loader makes of a kernel: memory that was full of rubbish, then loaded.
    fn load(file: &[u8], size: usize) -> Vec<u8> {
        let mut memory = vec![0xee; size];
        for segment in parse(file).unwrap().1 {
            if segment.p_type(Le) == elf::PT_LOAD {
                let at = usize::try_from(segment.p_paddr(Le) - LOAD_AT).unwrap();
                let content = segment.data(Le, file).unwrap();
                let length = usize::try_from(segment.p_memsz(Le)).unwrap();
                memory[at..at + length].fill(0);
                memory[at..at + content.len()].copy_from_slice(content);
            }
        }
        memory
    }

    fn content() -> Vec<u8> {
        let mut content: Vec<u8> = (0..70 * PAGE).map(|index| (index % 250) as u8 + 1).collect();
        content[2 * PAGE..40 * PAGE].fill(0);
        content[60 * PAGE..62 * PAGE].fill(0);
        content.extend_from_slice(b"the end");
        content
    }

    #[test]
    fn a_packed_kernel_fills_memory_as_the_original_does() {
        let memory = 100 * PAGE + 5;
        let original = kernel(&content(), memory as u64, 18);
        let packed = pack(&original).unwrap();
        assert!(load(&original, memory + PAGE) == load(&packed, memory + PAGE));
        assert!(packed.len() < content().len() - 37 * PAGE, "{}", packed.len());
        check(&packed).unwrap();
    }

    #[test]
    fn packing_twice_changes_no_more() {
        let packed = pack(&kernel(&content(), 100 * PAGE as u64, 18)).unwrap();
        assert!(pack(&packed).unwrap() == packed);
    }

    #[test]
    fn a_segment_of_zeros_stays_zeroed_memory() {
        let original = kernel(&vec![0; 20 * PAGE], 30 * PAGE as u64, 18);
        let packed = pack(&original).unwrap();
        assert!(load(&packed, 31 * PAGE) == load(&original, 31 * PAGE));
    }

    #[test]
    fn a_kernel_without_pvh_is_refused() {
        let error = pack(&kernel(&content(), 100 * PAGE as u64, 6)).unwrap_err();
        assert!(matches!(error, ElfError::NoPvh), "{error}");
    }

    #[test]
    fn cut_and_foreign_files_are_refused() {
        let whole = kernel(&content(), 100 * PAGE as u64, 18);
        for file in [&whole[..20], &whole[..100], &whole[..1 << 16], b"#!/bin/sh"] {
            assert!(pack(file).is_err());
        }
        let mut foreign = whole.clone();
        foreign[18] = 183;
        assert!(matches!(pack(&foreign), Err(ElfError::Machine(183))));
    }
}

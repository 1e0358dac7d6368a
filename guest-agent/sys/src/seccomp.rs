//! Loading a system call filter.

use crate::{Errno, Result, check};

/// One instruction of classic BPF as the kernel reads it (`struct sock_filter`), packed into a
/// `u64` by [`pack`] so that a program can travel as plain numbers.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct Instruction {
    code: u16,
    jump_true: u8,
    jump_false: u8,
    operand: u32,
}

/// Packs one `struct sock_filter`.
#[must_use]
pub fn pack(code: u16, jump_true: u8, jump_false: u8, operand: u32) -> u64 {
    u64::from(code)
        | (u64::from(jump_true) << 16)
        | (u64::from(jump_false) << 24)
        | (u64::from(operand) << 32)
}

fn unpack(packed: u64) -> Instruction {
    Instruction {
        code: packed as u16,
        jump_true: (packed >> 16) as u8,
        jump_false: (packed >> 24) as u8,
        operand: (packed >> 32) as u32,
    }
}

/// Filters the system calls of the calling thread from here on. Needs CAP_SYS_ADMIN or
/// `no_new_privs` (`EACCES`). `EINVAL`: not a valid program, or too long (4096 instructions).
pub fn install(program: &[u64]) -> Result<()> {
    let instructions: Vec<Instruction> = program.iter().copied().map(unpack).collect();
    let length = u16::try_from(instructions.len()).map_err(|_| Errno::EINVAL)?;
    let descriptor =
        libc::sock_fprog { len: length, filter: instructions.as_ptr().cast_mut().cast() };
    // SAFETY: `sock_fprog` describes the live vector above, whose elements have the layout of
    // sock_filter; the kernel copies the program and writes nothing.
    check(unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            // Speculation mitigations for filtered threads cost much and have been off by
            // default since Linux 5.16; nothing is asked for here.
            0,
            &raw const descriptor,
        )
    })
    .map(drop)
}

/// Whether the kernel can filter system calls at all.
#[must_use]
pub fn available() -> bool {
    let action: u32 = libc::SECCOMP_RET_ALLOW;
    // SAFETY: SECCOMP_GET_ACTION_AVAIL reads one u32, which lives on this frame.
    check(unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0, &raw const action)
    })
    .is_ok()
}

const _: () = assert!(size_of::<Instruction>() == size_of::<libc::sock_filter>());
const _: () = assert!(align_of::<Instruction>() == align_of::<libc::sock_filter>());

//! From rules to classic BPF.
//!
//! The program is a binary search over ranges of system call numbers. It matters here: when a
//! filter is installed, the kernel runs it once for every number there is to find those that it
//! can wave through later (seccomp_cache_prepare). With a chain of three hundred comparisons that
//! alone takes milliseconds in an emulated machine, at every start of a container.

use std::collections::BTreeMap;

use linkspan_sys::nix::libc;
use linkspan_sys::seccomp::pack;

/// Which argument of a system call, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Argument(pub(super) u32);

/// What happens to a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    Allow,
    Errno(u16),
    /// Allowed when the argument is one of these, EPERM otherwise.
    AnyOf(Argument, &'static [u32]),
    /// Allowed unless the argument is this, EPERM then.
    NotEqual(Argument, u32),
    /// Allowed when the argument has none of these bits, EPERM otherwise.
    NoneOf(Argument, u32),
}

const DENY: Rule = Rule::Errno(libc::EPERM as u16);

// Opcodes of linux/bpf_common.h.
const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const JUMP: u16 = 0x05; // BPF_JMP | BPF_JA
const JUMP_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const JUMP_AT_LEAST: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
const JUMP_ANY_BIT: u16 = 0x45; // BPF_JMP | BPF_JSET | BPF_K
const RETURN: u16 = 0x06; // BPF_RET | BPF_K

// Offsets in struct seccomp_data (linux/seccomp.h).
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

/// AUDIT_ARCH_* of linux/audit.h.
#[cfg(target_arch = "x86_64")]
pub(super) const NATIVE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
pub(super) const NATIVE: u32 = 0xc000_00b7;

/// Compiles rules by number. What has no rule answers EPERM up to `newest` and ENOSYS beyond it;
/// every call of a foreign architecture (32-bit programs) answers ENOSYS.
pub(super) fn compile(rules: &BTreeMap<u32, Rule>, newest: u32) -> Vec<u64> {
    let no_such_call = Rule::Errno(libc::ENOSYS as u16);
    let mut program = vec![
        pack(LOAD, 0, 0, ARCHITECTURE),
        pack(JUMP_EQUAL, 1, 0, NATIVE),
        leaf_return(no_such_call),
        pack(LOAD, 0, 0, NUMBER),
    ];
    program.extend(search(&ranges(rules, newest, no_such_call)));
    program
}

/// The number line cut into ranges of one rule each: (first number, rule), in order, from 0.
fn ranges(rules: &BTreeMap<u32, Rule>, newest: u32, beyond: Rule) -> Vec<(u32, Rule)> {
    let mut ranges: Vec<(u32, Rule)> = Vec::new();
    for number in 0..=newest + 1 {
        let rule = match rules.get(&number) {
            Some(rule) => *rule,
            None if number > newest => beyond,
            None => DENY,
        };
        if ranges.last().is_none_or(|(_, previous)| *previous != rule) {
            ranges.push((number, rule));
        }
    }
    ranges
}

fn search(ranges: &[(u32, Rule)]) -> Vec<u64> {
    if let [(_, rule)] = ranges {
        return leaf(*rule);
    }
    let (lower, upper) = ranges.split_at(ranges.len() / 2);
    let (below, above) = (search(lower), search(upper));
    let mut code = match u8::try_from(below.len()) {
        Ok(distance) => vec![pack(JUMP_AT_LEAST, distance, 0, upper[0].0)],
        // A conditional jump reaches 255 instructions, an unconditional one any number.
        Err(_) => vec![
            pack(JUMP_AT_LEAST, 0, 1, upper[0].0),
            pack(JUMP, 0, 0, u32::try_from(below.len()).unwrap_or(u32::MAX)),
        ],
    };
    code.extend(below);
    code.extend(above);
    code
}

fn leaf_return(rule: Rule) -> u64 {
    let action = match rule {
        Rule::Errno(errno) => libc::SECCOMP_RET_ERRNO | u32::from(errno),
        _ => libc::SECCOMP_RET_ALLOW,
    };
    pack(RETURN, 0, 0, action)
}

fn leaf(rule: Rule) -> Vec<u64> {
    let load = |argument: Argument| pack(LOAD, 0, 0, ARGUMENTS + 8 * argument.0);
    let (allow, deny) = (leaf_return(Rule::Allow), leaf_return(DENY));
    match rule {
        Rule::Allow | Rule::Errno(_) => vec![leaf_return(rule)],
        Rule::NotEqual(argument, value) => {
            vec![load(argument), pack(JUMP_EQUAL, 1, 0, value), allow, deny]
        }
        Rule::NoneOf(argument, bits) => {
            vec![load(argument), pack(JUMP_ANY_BIT, 1, 0, bits), allow, deny]
        }
        Rule::AnyOf(argument, values) => {
            let mut code = vec![load(argument)];
            for (index, value) in values.iter().enumerate() {
                // To `allow`, which stands behind the remaining tests and `deny`.
                let distance = u8::try_from(values.len() - index).unwrap_or(u8::MAX);
                code.push(pack(JUMP_EQUAL, distance, 0, *value));
            }
            code.extend([deny, allow]);
            code
        }
    }
}

/// Runs a program as the kernel would. For tests.
#[cfg(test)]
pub(super) fn run(program: &[u64], architecture: u32, number: u32, arguments: [u64; 6]) -> u32 {
    let mut accumulator = 0_u32;
    let mut at = 0_usize;
    loop {
        let word = program[at];
        let (code, yes, no) = (word as u16, (word >> 16) as u8, (word >> 24) as u8);
        let operand = (word >> 32) as u32;
        at += 1;
        let jump = |condition: bool| usize::from(if condition { yes } else { no });
        match code {
            LOAD => {
                accumulator = match operand {
                    NUMBER => number,
                    ARCHITECTURE => architecture,
                    offset => {
                        let argument = arguments[(offset - ARGUMENTS) as usize / 8];
                        (argument >> (8 * (offset % 8))) as u32
                    }
                };
            }
            JUMP => at += operand as usize,
            JUMP_EQUAL => at += jump(accumulator == operand),
            JUMP_AT_LEAST => at += jump(accumulator >= operand),
            0x25 => at += jump(accumulator > operand),
            JUMP_ANY_BIT => at += jump(accumulator & operand != 0),
            0x54 => accumulator &= operand,
            RETURN => return operand,
            other => panic!("opcode {other:#x} at {at}"),
        }
    }
}

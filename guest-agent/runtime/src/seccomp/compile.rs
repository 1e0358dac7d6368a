//! From rules to classic BPF.
//!
//! A filter sees every call of every architecture that the kernel runs programs of, so the first
//! thing it does is to choose the [`Table`] of the call's architecture: numbers mean nothing
//! without it. Within a table the program is a binary search over ranges of system call numbers. It matters here: when a
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
const JUMP_ABOVE: u16 = 0x25; // BPF_JMP | BPF_JGT | BPF_K
const JUMP_ANY_BIT: u16 = 0x45; // BPF_JMP | BPF_JSET | BPF_K
const AND: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
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

/// Of the 32-bit programs that a 64-bit x86 runs.
#[cfg(target_arch = "x86_64")]
pub(super) const I386: u32 = 0x4000_0003;

/// What a matched call runs: it ends in returns.
pub(super) type Body = Vec<u64>;

/// The answers of one architecture.
#[derive(Debug)]
pub(super) struct Table {
    /// AUDIT_ARCH_*.
    pub(super) architecture: u32,
    /// By number.
    pub(super) rules: BTreeMap<u32, Body>,
    /// What has no rule, up to the newest call.
    pub(super) otherwise: Body,
    /// The newest call that there was when the rules were made.
    pub(super) newest: u32,
    /// What is newer.
    pub(super) beyond: Body,
}

impl Table {
    /// Of plain rules: what has none answers EPERM up to `newest` and ENOSYS beyond it.
    pub(super) fn of(architecture: u32, rules: &BTreeMap<u32, Rule>, newest: u32) -> Self {
        Self {
            architecture,
            rules: rules.iter().map(|(number, rule)| (*number, leaf(*rule))).collect(),
            otherwise: leaf(DENY),
            newest,
            beyond: leaf(Rule::Errno(libc::ENOSYS as u16)),
        }
    }
}

/// One program of several tables; `foreign`: the answer to other architectures.
pub(super) fn compile(tables: &[Table], foreign: Body) -> Vec<u64> {
    let mut program = vec![pack(LOAD, 0, 0, ARCHITECTURE)];
    for table in tables {
        let mut body = vec![pack(LOAD, 0, 0, NUMBER)];
        body.extend(search(&ranges(table)));
        // Over the whole table when it is not its architecture.
        let over = u32::try_from(body.len()).unwrap_or(u32::MAX);
        program.extend([pack(JUMP_EQUAL, 1, 0, table.architecture), pack(JUMP, 0, 0, over)]);
        program.extend(body);
    }
    program.extend(foreign);
    program
}

/// A body that returns an action (SECCOMP_RET_*).
pub(super) fn always(action: u32) -> Body {
    vec![pack(RETURN, 0, 0, action)]
}

/// The number line cut into ranges of one body each: (first number, body), in order, from 0.
fn ranges(table: &Table) -> Vec<(u32, &Body)> {
    let mut ranges: Vec<(u32, &Body)> = Vec::new();
    for number in 0..=table.newest + 1 {
        let body = match table.rules.get(&number) {
            Some(body) => body,
            None if number > table.newest => &table.beyond,
            None => &table.otherwise,
        };
        if ranges.last().is_none_or(|(_, previous)| *previous != body) {
            ranges.push((number, body));
        }
    }
    ranges
}

fn search(ranges: &[(u32, &Body)]) -> Vec<u64> {
    if let [(_, body)] = ranges {
        return (*body).clone();
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

/// A comparison of a whole argument, 64 bits, as libseccomp has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    NotEqual(u64),
    Less(u64),
    LessOrEqual(u64),
    Equal(u64),
    GreaterOrEqual(u64),
    Greater(u64),
    MaskedEqual { mask: u64, value: u64 },
}

/// Where a comparison goes from an instruction.
#[derive(Clone, Copy)]
enum To {
    Next,
    Holds,
    Fails,
}

/// Returns `action` when all comparisons hold; falls through to what follows otherwise.
pub(super) fn when(comparisons: &[(Argument, Comparison)], action: u32) -> Body {
    let mut blocks: Vec<Vec<(u16, To, To, u32)>> = Vec::new();
    for (argument, comparison) in comparisons {
        blocks.push(test(*argument, *comparison));
    }
    let total: usize = blocks.iter().map(Vec::len).sum();
    let mut code = Vec::new();
    for block in blocks {
        let end = code.len() + block.len();
        for (opcode, yes, no, operand) in block {
            let here = code.len() + 1;
            let distance = |to| match to {
                To::Next => 0,
                To::Holds => end - here,
                // Over the return, to what follows.
                To::Fails => total + 1 - here,
            };
            // Six arguments of five instructions: far less than a jump reaches.
            let reach = |to| u8::try_from(distance(to)).unwrap_or(u8::MAX);
            code.push(pack(opcode, reach(yes), reach(no), operand));
        }
    }
    code.push(pack(RETURN, 0, 0, action));
    code
}

fn test(argument: Argument, comparison: Comparison) -> Vec<(u16, To, To, u32)> {
    use Comparison as C;
    use To::{Fails, Holds, Next};

    let (low, high) = (ARGUMENTS + 8 * argument.0, ARGUMENTS + 8 * argument.0 + 4);
    let load = |offset| (LOAD, Next, Next, offset);
    let halves = |value: u64| (value as u32, (value >> 32) as u32);
    match comparison {
        C::Equal(value) => {
            let (l, h) = halves(value);
            vec![load(high), (JUMP_EQUAL, Next, Fails, h), load(low), (JUMP_EQUAL, Next, Fails, l)]
        }
        C::NotEqual(value) => {
            let (l, h) = halves(value);
            vec![load(high), (JUMP_EQUAL, Next, Holds, h), load(low), (JUMP_EQUAL, Fails, Next, l)]
        }
        C::MaskedEqual { mask, value } => {
            let ((l, h), (mask_low, mask_high)) = (halves(value & mask), halves(mask));
            vec![
                load(high),
                (AND, Next, Next, mask_high),
                (JUMP_EQUAL, Next, Fails, h),
                load(low),
                (AND, Next, Next, mask_low),
                (JUMP_EQUAL, Next, Fails, l),
            ]
        }
        C::Greater(value) | C::GreaterOrEqual(value) => {
            let (l, h) = halves(value);
            let opcode =
                if matches!(comparison, C::Greater(_)) { JUMP_ABOVE } else { JUMP_AT_LEAST };
            vec![
                load(high),
                (JUMP_ABOVE, Holds, Next, h),
                (JUMP_EQUAL, Next, Fails, h),
                load(low),
                (opcode, Next, Fails, l),
            ]
        }
        C::Less(value) | C::LessOrEqual(value) => {
            let (l, h) = halves(value);
            let opcode =
                if matches!(comparison, C::LessOrEqual(_)) { JUMP_ABOVE } else { JUMP_AT_LEAST };
            vec![
                load(high),
                (JUMP_ABOVE, Fails, Next, h),
                (JUMP_EQUAL, Next, Holds, h),
                load(low),
                (opcode, Fails, Next, l),
            ]
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
            JUMP_ABOVE => at += jump(accumulator > operand),
            JUMP_ANY_BIT => at += jump(accumulator & operand != 0),
            AND => accumulator &= operand,
            RETURN => return operand,
            other => panic!("opcode {other:#x} at {at}"),
        }
    }
}

//! The device filter: an eBPF program on the container's cgroup that decides which device nodes
//! may be made, read and written. The bytes are written here, by hand: the program is a chain of
//! comparisons, and needs neither maps nor calls.

use std::os::fd::{AsFd, OwnedFd};

use linkspan_sys::{Errno, bpf};
use serde::{Deserialize, Serialize};

/// What may be done with a device: BPF_DEVCG_ACC_* of linux/bpf.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access(u32);

impl Access {
    /// mknod(2).
    pub const MKNOD: Self = Self(1);
    /// Open for reading.
    pub const READ: Self = Self(2);
    /// Open for writing.
    pub const WRITE: Self = Self(4);
    /// Everything.
    pub const ALL: Self = Self(7);

    /// Reads `r`, `w` and `m` in any order. None: another letter, one twice, or nothing.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut access = 0;
        for letter in text.chars() {
            let Self(bit) = match letter {
                'm' => Self::MKNOD,
                'r' => Self::READ,
                'w' => Self::WRITE,
                _ => return None,
            };
            if access & bit != 0 {
                return None;
            }
            access |= bit;
        }
        (access != 0).then_some(Self(access))
    }
}

/// One thing that is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRule {
    /// `true`: block devices; `false`: character devices.
    pub block: bool,
    /// None: any.
    pub major: Option<u32>,
    /// None: any.
    pub minor: Option<u32>,
    /// What.
    pub access: Access,
}

const fn character(major: u32, minor: Option<u32>) -> DeviceRule {
    DeviceRule { block: false, major: Some(major), minor, access: Access::ALL }
}

/// What every container may do: make any node (making one is not using it), and use the
/// standard devices and its own terminals. The list is runc's `AllowedDevices` and Docker's.
pub const STANDARD_RULES: &[DeviceRule] = &[
    DeviceRule { block: false, major: None, minor: None, access: Access::MKNOD },
    DeviceRule { block: true, major: None, minor: None, access: Access::MKNOD },
    character(1, Some(3)), // null
    character(1, Some(5)), // zero
    character(1, Some(7)), // full
    character(1, Some(8)), // random
    character(1, Some(9)), // urandom
    character(5, Some(0)), // tty
    character(5, Some(1)), // console
    character(5, Some(2)), // ptmx
    character(136, None),  // pts/*
];

/// A rule that allows or denies: `linux.resources.devices` of an OCI bundle, in which a later
/// entry overrides those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// What it is about.
    pub rule: DeviceRule,
    /// The answer.
    pub allow: bool,
}

/// The standard rules and a container's own.
#[must_use]
pub fn rules(own: &[DeviceRule]) -> Vec<DeviceRule> {
    let mut rules = STANDARD_RULES.to_vec();
    for rule in own {
        if !rules.contains(rule) {
            rules.push(*rule);
        }
    }
    rules
}

// Opcodes of linux/bpf.h and linux/bpf_common.h.
const LOAD_WORD: u8 = 0x61; // BPF_LDX | BPF_MEM | BPF_W
const AND_CONSTANT: u8 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const SHIFT_RIGHT: u8 = 0x74; // BPF_ALU | BPF_RSH | BPF_K
const MOVE_REGISTER: u8 = 0xbc; // BPF_ALU | BPF_MOV | BPF_X
const MOVE_CONSTANT: u8 = 0xb7; // BPF_ALU64 | BPF_MOV | BPF_K
const JUMP_UNLESS_EQUAL: u8 = 0x55; // BPF_JMP | BPF_JNE | BPF_K
const JUMP_IF_EQUAL: u8 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const JUMP_UNLESS_SAME: u8 = 0x5d; // BPF_JMP | BPF_JNE | BPF_X
const EXIT: u8 = 0x95; // BPF_JMP | BPF_EXIT

// What the registers hold, once loaded from `struct bpf_cgroup_dev_ctx`.
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
const SCRATCH: u8 = 1; // The context is not needed once everything is loaded.
const RESULT: u8 = 0;

const KIND_BLOCK: u32 = 1; // BPF_DEVCG_DEV_BLOCK
const KIND_CHARACTER: u32 = 2; // BPF_DEVCG_DEV_CHAR

/// `struct bpf_insn` in memory order.
fn instruction(opcode: u8, target: u8, source: u8, offset: i16, constant: u32) -> u64 {
    u64::from(opcode)
        | (u64::from(target | (source << 4)) << 8)
        | (u64::from(offset.cast_unsigned()) << 16)
        | (u64::from(constant) << 32)
}

/// The program that allows what a rule allows, and nothing else.
#[must_use]
pub fn program(rules: &[DeviceRule]) -> Vec<u64> {
    let verdicts: Vec<Verdict> =
        rules.iter().map(|rule| Verdict { rule: *rule, allow: true }).collect();
    verdict_program(&verdicts)
}

/// The program that answers with the first verdict that fits, and no without any. An allowance
/// fits when it grants all that is wanted, a denial when it forbids a part of it.
#[must_use]
pub fn verdict_program(verdicts: &[Verdict]) -> Vec<u64> {
    let load = |target, offset| instruction(LOAD_WORD, target, CONTEXT, offset, 0);
    // access_type: the kind of device in the lower half, the access in the upper.
    let mut code = vec![
        load(KIND, 0),
        instruction(AND_CONSTANT, KIND, 0, 0, 0xffff),
        load(ACCESS, 0),
        instruction(SHIFT_RIGHT, ACCESS, 0, 0, 16),
        load(MAJOR, 4),
        load(MINOR, 8),
    ];
    for verdict in verdicts {
        emit(&mut code, verdict);
    }
    code.extend([instruction(MOVE_CONSTANT, RESULT, 0, 0, 0), instruction(EXIT, 0, 0, 0, 0)]);
    code
}

/// The comparisons of one rule: each jumps to the next rule when it does not hold.
fn emit(code: &mut Vec<u64>, Verdict { rule, allow }: &Verdict) {
    let kind = if rule.block { KIND_BLOCK } else { KIND_CHARACTER };
    // (opcode, target, source, constant); the offset is filled in once the length is known.
    let mut tests = vec![(JUMP_UNLESS_EQUAL, KIND, 0, kind)];
    if rule.access != Access::ALL {
        tests.push((MOVE_REGISTER, SCRATCH, ACCESS, 0));
        tests.push((AND_CONSTANT, SCRATCH, 0, rule.access.0));
        // All that is wanted has to be granted: wanted & granted == wanted.
        // Nothing that is wanted may be denied: wanted & denied == 0, and the next rule decides.
        tests.push(match allow {
            true => (JUMP_UNLESS_SAME, SCRATCH, ACCESS, 0),
            false => (JUMP_IF_EQUAL, SCRATCH, 0, 0),
        });
    }
    tests.extend(rule.major.map(|major| (JUMP_UNLESS_EQUAL, MAJOR, 0, major)));
    tests.extend(rule.minor.map(|minor| (JUMP_UNLESS_EQUAL, MINOR, 0, minor)));
    let count = tests.len();
    for (index, (opcode, target, source, constant)) in tests.into_iter().enumerate() {
        let jumps = matches!(opcode, JUMP_UNLESS_EQUAL | JUMP_UNLESS_SAME | JUMP_IF_EQUAL);
        // Over the remaining tests and the two instructions of the answer.
        let offset = if jumps { (count - index - 1 + 2) as i16 } else { 0 };
        code.push(instruction(opcode, target, source, offset, constant));
    }
    let answer = u32::from(*allow);
    code.extend([instruction(MOVE_CONSTANT, RESULT, 0, 0, answer), instruction(EXIT, 0, 0, 0, 0)]);
}

/// A filter that the kernel has checked, ready for any number of cgroups.
#[derive(Debug)]
pub struct DeviceFilter {
    program: OwnedFd,
}

impl DeviceFilter {
    /// Loads the filter of a container with these rules of its own.
    ///
    /// # Errors
    /// `ENOSYS`, `EINVAL`: the kernel has no CONFIG_CGROUP_BPF. `EPERM`: not root.
    pub fn load(own: &[DeviceRule]) -> Result<Self, Errno> {
        Ok(Self { program: bpf::load_device_filter(&program(&rules(own)))? })
    }

    /// Loads a filter of verdicts, the first that fits.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_verdicts(verdicts: &[Verdict]) -> Result<Self, Errno> {
        Ok(Self { program: bpf::load_device_filter(&verdict_program(verdicts))? })
    }

    /// Puts the filter on a cgroup (an open folder of cgroup2).
    ///
    /// # Errors
    /// As bpf(2), BPF_PROG_ATTACH.
    pub fn attach(&self, cgroup: impl AsFd) -> Result<(), Errno> {
        bpf::attach_device_filter(cgroup, &self.program)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a program as the kernel would, for the few opcodes that occur.
    fn run(program: &[u64], block: bool, access: Access, major: u32, minor: u32) -> bool {
        let kind = if block { KIND_BLOCK } else { KIND_CHARACTER };
        let context = [kind | (access.0 << 16), major, minor];
        let mut registers = [0_u64; 11];
        let mut at = 0_usize;
        loop {
            let word = program[at];
            let (opcode, target, source) =
                (word as u8, (word >> 8) as usize & 15, (word >> 12) as usize & 15);
            let (offset, constant) = ((word >> 16) as i16, (word >> 32) as u32);
            let jump = |taken: bool| if taken { offset as usize } else { 0 };
            at += 1;
            match opcode {
                LOAD_WORD => registers[target] = context[offset as usize / 4].into(),
                AND_CONSTANT => registers[target] &= u64::from(constant),
                SHIFT_RIGHT => registers[target] >>= constant,
                MOVE_REGISTER => registers[target] = registers[source],
                MOVE_CONSTANT => registers[target] = constant.into(),
                JUMP_IF_EQUAL => at += jump(registers[target] == u64::from(constant)),
                JUMP_UNLESS_EQUAL => at += jump(registers[target] != u64::from(constant)),
                JUMP_UNLESS_SAME => at += jump(registers[target] != registers[source]),
                EXIT => return registers[0] != 0,
                other => panic!("opcode {other:#x}"),
            }
        }
    }

    #[test]
    fn standard_devices_can_be_used_and_others_only_made() {
        let program = program(STANDARD_RULES);
        let read_write = Access(6);
        assert!(run(&program, false, read_write, 1, 3), "null");
        assert!(run(&program, false, Access::ALL, 1, 9), "urandom");
        assert!(run(&program, false, read_write, 136, 77), "pts");
        assert!(!run(&program, false, Access::READ, 1, 1), "mem");
        assert!(!run(&program, true, Access::READ, 254, 0), "vda");
        assert!(run(&program, true, Access::MKNOD, 254, 0), "making a node is harmless");
        assert!(!run(&program, true, Access(3), 254, 0), "but not making and reading");
        assert!(!run(&program, true, read_write, 1, 3), "a block device of null's numbers");
    }

    #[test]
    fn a_containers_own_device_is_added_once() {
        let vda = DeviceRule { block: true, major: Some(254), minor: Some(0), access: Access::ALL };
        let rules = rules(&[vda, character(1, Some(3)), vda]);
        assert_eq!(rules.len(), STANDARD_RULES.len() + 1);
        let program = program(&rules);
        assert!(run(&program, true, Access::ALL, 254, 0));
        assert!(!run(&program, true, Access::WRITE, 254, 1));
    }

    #[test]
    fn a_rule_grants_its_access_and_no_more() {
        let read = Access::parse("r").unwrap();
        let rule = DeviceRule { block: true, major: Some(254), minor: None, access: read };
        let program = program(&[rule]);
        assert!(run(&program, true, Access::READ, 254, 3));
        assert!(!run(&program, true, Access::WRITE, 254, 3));
        assert!(!run(&program, true, Access(6), 254, 3));
        assert_eq!(Access::parse("mwr"), Some(Access::ALL));
        for wrong in ["", "rr", "x", "rwx"] {
            assert_eq!(Access::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_first_verdict_that_fits_is_the_answer() {
        let rule = |minor, access: &str| DeviceRule {
            block: false,
            major: Some(10),
            minor,
            access: Access::parse(access).unwrap(),
        };
        let program = verdict_program(&[
            Verdict { rule: rule(Some(7), "w"), allow: false },
            Verdict { rule: rule(None, "rw"), allow: true },
        ]);
        assert!(run(&program, false, Access::READ, 10, 7));
        assert!(!run(&program, false, Access(6), 10, 7), "a part of it is denied");
        assert!(run(&program, false, Access(6), 10, 8));
        assert!(!run(&program, false, Access::ALL, 10, 8), "mknod is not granted");
    }

    #[test]
    fn no_rules_allow_nothing() {
        assert!(!run(&program(&[]), false, Access::READ, 1, 3));
    }

    #[test]
    fn the_kernels_verifier_accepts_the_program() {
        match DeviceFilter::load(&[]) {
            Ok(_) => {}
            Err(errno @ (Errno::EPERM | Errno::ENOSYS)) => {
                println!("skipped: bpf(2) is not allowed here: {errno}");
            }
            Err(errno) => panic!("refused: {errno}"),
        }
    }
}

//! Programs of other processors: which of them the kernel hands to an emulator.
//!
//! The kernel's table is `binfmt_misc` (admin-guide/binfmt-misc.rst). It is mounted at boot; the
//! emulators in the VM image, if there are any, are entered then, and a privileged container may
//! enter others. With the flag `F` the kernel opens the emulator when it is entered, so that it is
//! found from within every container; without, it is looked up in the container's own files.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use linkspan_sys::{Errno, boot::BootCalls};
use nix::mount::MsFlags;

/// Where the kernel shows the table.
pub const TABLE: &str = "/proc/sys/fs/binfmt_misc";
/// Static user emulators of QEMU, `qemu-aarch64` say, when the VM image was built with some.
const OWN: &str = "/usr/lib/linkspan/emulators";
/// The flags of those: fixed (see above), and the credentials of the program that is emulated, so
/// that set-user-id programs work as they do elsewhere.
const FLAGS: &str = "FC";

/// What tells programs of one architecture: the class, byte order and machine of their ELF header.
struct Machine {
    /// As images name it.
    architecture: &'static str,
    /// As QEMU does.
    qemu: &'static str,
    bits: u8,
    big_endian: bool,
    /// `e_machine` (elf.h).
    number: u16,
}

const MACHINES: &[Machine] = &[
    machine("amd64", "x86_64", 64, false, 62),
    machine("386", "i386", 32, false, 3),
    machine("arm64", "aarch64", 64, false, 183),
    machine("arm", "arm", 32, false, 40),
    machine("riscv64", "riscv64", 64, false, 243),
    machine("ppc64le", "ppc64le", 64, false, 21),
    machine("s390x", "s390x", 64, true, 22),
    machine("loong64", "loongarch64", 64, false, 258),
    machine("mips64le", "mips64el", 64, false, 8),
    machine("mips64", "mips64", 64, true, 8),
];

const fn machine(
    architecture: &'static str,
    qemu: &'static str,
    bits: u8,
    big_endian: bool,
    number: u16,
) -> Machine {
    Machine { architecture, qemu, bits, big_endian, number }
}

/// Up to `e_machine`: as much as tells architectures apart.
type Header = [u8; 20];

impl Machine {
    /// The beginning of its programs. `kind`: 2 for those with a fixed address, 3 for others.
    fn header(&self, kind: u16) -> Header {
        let mut header = Header::default();
        header[..4].copy_from_slice(b"\x7fELF");
        header[4] = if self.bits == 64 { 2 } else { 1 };
        header[5] = if self.big_endian { 2 } else { 1 };
        header[6] = 1;
        let number = |n: u16| if self.big_endian { n.to_be_bytes() } else { n.to_le_bytes() };
        header[16..18].copy_from_slice(&number(kind));
        header[18..].copy_from_slice(&number(self.number));
        header
    }

    /// Which bits count: all but the operating system, and the one that tells both kinds apart.
    fn mask(&self) -> Header {
        let mut mask = [0xff; 20];
        mask[7] = 0;
        mask[if self.big_endian { 17 } else { 16 }] = 0xfe;
        mask
    }

    /// The line that enters an emulator.
    fn line(&self, emulator: &Path) -> String {
        let hex = |bytes: Header| bytes.iter().map(|b| format!("\\x{b:02x}")).collect::<String>();
        let (name, magic, mask) = (self.qemu, hex(self.header(2)), hex(self.mask()));
        format!(":qemu-{name}:M:0:{magic}:{mask}:{}:{FLAGS}", emulator.display())
    }
}

/// Mounts the table and enters the VM image's own emulators. A kernel without the table runs only
/// its own programs, so nothing here ends a boot.
pub(crate) fn prepare(kernel: &dyn BootCalls) {
    let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    match kernel.mount("binfmt_misc", Path::new(TABLE), "binfmt_misc", quiet, "") {
        Ok(()) | Err(Errno::EBUSY) => {}
        Err(errno) => {
            tracing::info!(%errno, "the kernel cannot run programs of other processors");
            return;
        }
    }
    for machine in MACHINES {
        let emulator = Path::new(OWN).join(format!("qemu-{}", machine.qemu));
        if !emulator.exists() {
            continue;
        }
        match fs::write(Path::new(TABLE).join("register"), machine.line(&emulator)) {
            Ok(()) => tracing::info!(architecture = machine.architecture, "emulated"),
            Err(error) => {
                tracing::warn!(%error, architecture = machine.architecture, "not emulated");
            }
        }
    }
}

/// Whether the kernel can run programs of this architecture in a container with these layers.
pub(crate) fn runs(architecture: &str, table: &Path, layers: &[PathBuf]) -> bool {
    let Some(machine) = MACHINES.iter().find(|m| m.architecture == architecture) else {
        return false;
    };
    let entries = match fs::read_dir(table) {
        Ok(entries) => entries,
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(%error, "cannot read the kernel's table of emulators");
            }
            return false;
        }
    };
    // `register` cannot be read and `status` is no entry: neither parses as one.
    let texts = entries.filter_map(|entry| fs::read_to_string(entry.ok()?.path()).ok());
    texts.filter_map(|text| Entry::parse(&text)).any(|entry| {
        [2, 3].iter().any(|kind| entry.takes(&machine.header(*kind))) && entry.is_found(layers)
    })
}

/// One enabled line of the table, as the kernel shows it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Entry {
    interpreter: PathBuf,
    fixed: bool,
    magic: Vec<u8>,
    /// As long as the magic.
    mask: Vec<u8>,
}

impl Entry {
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        (lines.next()? == "enabled").then_some(())?;
        let mut entry = Self::default();
        for line in lines {
            match line.split_once(' ')? {
                ("interpreter", path) => entry.interpreter = path.into(),
                ("flags:", flags) => entry.fixed = flags.contains('F'),
                ("magic", digits) => entry.magic = hex(digits)?,
                ("mask", digits) => entry.mask = hex(digits)?,
                // Those of programs begin with the header.
                ("offset", "0") => {}
                _ => return None,
            }
        }
        if entry.mask.is_empty() {
            entry.mask = vec![0xff; entry.magic.len()];
        }
        (!entry.magic.is_empty() && entry.mask.len() == entry.magic.len()).then_some(entry)
    }

    fn takes(&self, header: &Header) -> bool {
        let wanted = self.magic.iter().zip(&self.mask);
        self.magic.len() <= header.len()
            && wanted.zip(header).all(|((magic, mask), byte)| magic & mask == byte & mask)
    }

    /// Without `F` the emulator has to be in the container.
    fn is_found(&self, layers: &[PathBuf]) -> bool {
        let Ok(inside) = self.interpreter.strip_prefix("/") else { return false };
        self.fixed || layers.iter().any(|layer| fs::symlink_metadata(layer.join(inside)).is_ok())
    }
}

fn hex(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel shows of Debian's qemu-aarch64.
    const AARCH64: &str = "enabled\ninterpreter /usr/libexec/qemu-binfmt/aarch64-binfmt-P\n\
        flags: POCF\noffset 0\nmagic 7f454c460201010000000000000000000200b700\n\
        mask ffffffffffffff00fffffffffffffffffeffffff\n";

    fn table(entries: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("status"), "enabled\n").expect("written");
        for (name, text) in entries {
            fs::write(folder.path().join(name), text).expect("written");
        }
        folder
    }

    #[test]
    fn a_fixed_emulator_runs_its_architecture_and_no_other() {
        let folder = table(&[
            ("qemu-aarch64", AARCH64),
            ("python", "enabled\ninterpreter /p\nflags: \nextension .py\n"),
        ]);
        assert!(runs("arm64", folder.path(), &[]));
        for other in ["arm", "s390x", "amd64", "riscv64", "nonsense", ""] {
            assert!(!runs(other, folder.path(), &[]), "{other}");
        }
        assert!(!runs("arm64", Path::new("/no/such/table"), &[]));
    }

    #[test]
    fn one_that_is_disabled_does_not_count_and_one_that_is_not_fixed_must_be_in_the_image() {
        let disabled = AARCH64.replace("enabled", "disabled");
        assert!(!runs("arm64", table(&[("a", &disabled)]).path(), &[]));
        let open = table(&[("a", &AARCH64.replace("POCF", "OC"))]);
        let layer = tempfile::tempdir().expect("a folder");
        let layers = [layer.path().to_owned()];
        assert!(!runs("arm64", open.path(), &layers));
        let inside = layer.path().join("usr/libexec/qemu-binfmt");
        fs::create_dir_all(&inside).expect("made");
        fs::write(inside.join("aarch64-binfmt-P"), "").expect("written");
        assert!(runs("arm64", open.path(), &layers));
    }

    #[test]
    fn our_own_lines_are_those_of_qemus_and_match_both_kinds_of_programs() {
        let arm64 = MACHINES.iter().find(|m| m.architecture == "arm64").expect("known");
        assert_eq!(
            arm64.line(Path::new("/e")),
            ":qemu-aarch64:M:0:\\x7f\\x45\\x4c\\x46\\x02\\x01\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\
             \\x00\\x02\\x00\\xb7\\x00:\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\x00\\xff\\xff\\xff\\xff\\xff\\xff\
             \\xff\\xff\\xfe\\xff\\xff\\xff:/e:FC"
        );
        for machine in MACHINES {
            let (magic, mask) = (machine.header(2).to_vec(), machine.mask().to_vec());
            let entry = Entry { magic, mask, fixed: true, ..Entry::default() };
            for other in MACHINES {
                for kind in [2, 3] {
                    let same = machine.architecture == other.architecture;
                    assert_eq!(entry.takes(&other.header(kind)), same, "{}", other.architecture);
                }
            }
            // A library in the making is no program.
            assert!(!entry.takes(&machine.header(1)));
        }
    }

    #[test]
    fn what_the_kernel_does_not_write_is_no_entry() {
        for text in [
            "",
            "enabled",
            "enabled\nmagic 7\n",
            "enabled\nmagic 7g\n",
            "enabled\noffset 4\nmagic 7f\n",
            "enabled\nmagic 7f45\nmask ff\n",
            "enabled\nmagic é\n",
        ] {
            assert_eq!(Entry::parse(text), None, "{text:?}");
        }
    }
}

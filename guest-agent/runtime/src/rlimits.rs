//! Resource limits: the names of `--ulimit` and the kernel's numbers.

/// By number, as in include/uapi/asm-generic/resource.h (x86-64 and arm64 share it).
const NAMES: [&str; 16] = [
    "cpu",
    "fsize",
    "data",
    "stack",
    "core",
    "rss",
    "nproc",
    "nofile",
    "memlock",
    "as",
    "locks",
    "sigpending",
    "msgqueue",
    "nice",
    "rtprio",
    "rttime",
];

/// The kernel's number of a limit; accepts `nofile`, `NOFILE` and `RLIMIT_NOFILE`.
#[must_use]
pub fn number(name: &str) -> Option<u32> {
    let lower = name.to_ascii_lowercase();
    let short = lower.strip_prefix("rlimit_").unwrap_or(&lower);
    let position = NAMES.iter().position(|known| *known == short)?;
    u32::try_from(position).ok()
}

/// Every name, in the order of the kernel's numbers.
#[must_use]
pub fn names() -> &'static [&'static str] {
    &NAMES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_kernels_numbers() {
        use linkspan_sys::nix::sys::resource::Resource;
        for (name, resource) in [
            ("cpu", Resource::RLIMIT_CPU),
            ("nofile", Resource::RLIMIT_NOFILE),
            ("nproc", Resource::RLIMIT_NPROC),
            ("memlock", Resource::RLIMIT_MEMLOCK),
            ("core", Resource::RLIMIT_CORE),
            ("stack", Resource::RLIMIT_STACK),
            ("rttime", Resource::RLIMIT_RTTIME),
        ] {
            assert_eq!(number(name), Some(resource as u32), "{name}");
        }
    }

    #[test]
    fn names_are_read_as_docker_and_oci_write_them() {
        assert_eq!(number("RLIMIT_NOFILE"), number("nofile"));
        assert_eq!(number("NoFile"), number("nofile"));
        assert_eq!(number("files"), None);
    }
}

//! The words on the kernel's command line that are for the agent: `linkspan.*=`.

use std::fs;

use super::BootError;

/// What the host asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cmdline {
    /// `linkspan.log=`: a tracing filter; `info` by default.
    pub log: String,
    /// `linkspan.machine=`: the machine's name, which becomes the VM's host name.
    pub machine: String,
    /// `linkspan.shares=TAG,TAG:ro`: the host's folders, and which of them are read-only.
    pub shares: Vec<(String, bool)>,
    /// `linkspan.userns=remap`: ids of containers are mapped.
    pub map_ids: bool,
}

impl Cmdline {
    /// From /proc/cmdline.
    ///
    /// # Errors
    /// When /proc is not mounted.
    pub fn read() -> Result<Self, BootError> {
        let path = "/proc/cmdline";
        Ok(Self::parse(&fs::read_to_string(path).map_err(BootError::file("read", path))?))
    }

    /// Words that are not ours are the kernel's. A later word wins.
    #[must_use]
    pub fn parse(line: &str) -> Self {
        let mut parsed = Self {
            log: "info".into(),
            machine: "linkspan".into(),
            shares: Vec::new(),
            map_ids: false,
        };
        for (key, value) in line.split_whitespace().filter_map(|word| word.split_once('=')) {
            match key {
                "linkspan.log" => value.clone_into(&mut parsed.log),
                "linkspan.machine" => value.clone_into(&mut parsed.machine),
                "linkspan.shares" => parsed.shares = value.split(',').map(share).collect(),
                "linkspan.userns" => parsed.map_ids = value == "remap",
                _ => {}
            }
        }
        parsed
    }
}

fn share(word: &str) -> (String, bool) {
    match word.strip_suffix(":ro") {
        Some(tag) => (tag.to_owned(), true),
        None => (word.to_owned(), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_words_are_found_among_the_kernels() {
        let line = "console=ttyS0 linkspan.machine=dev linkspan.log=debug panic=-1 quiet \
                    linkspan.userns=remap linkspan.shares=a,b:ro\n";
        let shares = vec![("a".into(), false), ("b".into(), true)];
        let expected =
            Cmdline { log: "debug".into(), machine: "dev".into(), shares, map_ids: true };
        assert_eq!(Cmdline::parse(line), expected);
        let plain = Cmdline::parse("quiet");
        assert_eq!((plain.machine.as_str(), plain.map_ids), ("linkspan", false));
    }
}

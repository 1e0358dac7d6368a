//! Flags of `docker build` that are not served here, each with its reason.

use clap::Args;
use linkspan_proto::error::{ErrorCode, Failure};

use crate::error::Error;

/// Hidden from the help: they are known only to be refused by name.
#[derive(Debug, Args)]
pub(super) struct Refused {
    #[arg(long, hide = true)]
    annotation: Vec<String>,
    #[arg(long, hide = true)]
    cache_from: Vec<String>,
    #[arg(long, hide = true)]
    cache_to: Vec<String>,
    #[arg(long, hide = true)]
    attest: Vec<String>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    provenance: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    sbom: Option<String>,
    #[arg(long, hide = true)]
    cgroup_parent: Option<String>,
}

impl Refused {
    /// # Errors
    /// The first flag that was given, and why it is not served.
    pub(super) fn check(&self) -> Result<(), Error> {
        // Without them is how it is anyway.
        let wanted = |flag: &Option<String>| flag.as_deref().is_some_and(|value| value != "false");
        let flags = [
            (
                !self.annotation.is_empty(),
                "--annotation",
                "annotations are a manifest's, which is made when the image is pushed: use --label",
            ),
            (
                !self.cache_from.is_empty(),
                "--cache-from",
                "caches of registries and folders are not read; what earlier builds left in the machine is always found",
            ),
            (
                !self.cache_to.is_empty(),
                "--cache-to",
                "caches are not written to registries or folders; what a build leaves stays in the machine",
            ),
            (!self.attest.is_empty(), "--attest", "attestations are not made"),
            (wanted(&self.provenance), "--provenance", "attestations are not made"),
            (wanted(&self.sbom), "--sbom", "attestations are not made"),
            (self.cgroup_parent.is_some(), "--cgroup-parent", "builds have a cgroup of their own"),
        ];
        match flags.into_iter().find(|(given, ..)| *given) {
            None => Ok(()),
            Some((_, flag, why)) => {
                let what = format!("{flag} is not supported: {why}");
                Err(Failure::new(ErrorCode::Unsupported, what).into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        refused: Refused,
    }

    #[test]
    fn what_is_not_served_is_refused_by_name() {
        for flags in [
            &["--annotation", "a=b"][..],
            &["--cache-from", "x"],
            &["--cache-to", "type=inline"],
            &["--attest", "type=sbom"],
            &["--provenance"],
            &["--provenance=mode=max"],
            &["--sbom=true"],
            &["--cgroup-parent", "/x"],
        ] {
            let line = Line::try_parse_from(["build"].iter().chain(flags)).unwrap();
            let Err(Error::Failure(failure)) = line.refused.check() else { panic!("{flags:?}") };
            let name = flags[0].split('=').next().unwrap();
            assert!(failure.message.starts_with(name), "{failure}");
        }
        let line = Line::try_parse_from(["build", "--provenance=false", "--sbom=false"]).unwrap();
        assert!(line.refused.check().is_ok());
    }
}

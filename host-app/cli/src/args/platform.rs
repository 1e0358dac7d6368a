//! `--platform` of a container: only the machine's own can run.

/// The machine's architecture is this host's, as images name it.
fn own() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// `linux`, `ARCHITECTURE` or `linux/ARCHITECTURE[/VARIANT]`, if it is the machine's.
///
/// # Errors
/// Names the platform that there is.
pub(crate) fn own_platform(text: &str) -> Result<String, String> {
    let lower = text.to_ascii_lowercase();
    let mut parts = lower.split('/');
    let first = parts.next().unwrap_or_default();
    let (system, architecture) = match parts.next() {
        Some(architecture) => (first, architecture),
        None if first == "linux" => (first, own()),
        None => ("linux", first),
    };
    let architecture = match architecture {
        "x86_64" | "x86-64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    // The only variant that is the same machine: https://github.com/containerd/platforms.
    let variant = match (parts.next(), parts.next()) {
        (None, None) => true,
        (Some("v8"), None) => architecture == "arm64",
        _ => false,
    };
    if (system, architecture) == ("linux", own()) && variant {
        return Ok(text.to_owned());
    }
    Err(format!("only linux/{}, the machine's own platform, can run", own()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_own_platform_is_taken_in_all_its_spellings_and_no_other() {
        let full = format!("linux/{}", own());
        for text in ["linux", own(), full.as_str(), std::env::consts::ARCH] {
            assert_eq!(own_platform(text).as_deref(), Ok(text));
        }
        let other = if own() == "amd64" { "linux/arm64" } else { "linux/amd64" };
        for text in [other, "windows", "linux/s390x", "linux/amd64/v4", ""] {
            assert!(own_platform(text).unwrap_err().contains(own()), "{text}");
        }
    }
}

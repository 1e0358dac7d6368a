//! Platforms: what `--platform` says, and which entry of an index serves it.
//!
//! Names and order are those of containerd's `platforms` package, which Docker uses.

use linkspan_images::Platform;

use crate::document::Descriptor;
use crate::error::{Error, Result};

/// Reads `os/architecture[/variant]`, or an architecture alone for Linux, with the usual other
/// spellings (`x86_64`, `aarch64`, `armhf`).
pub fn parse_platform(text: &str) -> Result<Platform> {
    let fail = |why| Error::Platform { text: text.to_owned(), why };
    let lower = text.to_ascii_lowercase();
    let parts: Vec<&str> = lower.split('/').collect();
    let word = |part: &&str| {
        !part.is_empty() && part.bytes().all(|c| c.is_ascii_alphanumeric() || b"_-.".contains(&c))
    };
    if !parts.iter().all(word) {
        return Err(fail("it needs the form `os/architecture` or `os/architecture/variant`"));
    }
    let (os, architecture, variant) = match parts[..] {
        [architecture] => ("linux", architecture, ""),
        [os, architecture] => (os, architecture, ""),
        [os, architecture, variant] => (os, architecture, variant),
        _ => return Err(fail("it has more than three parts")),
    };
    if os != "linux" {
        return Err(fail("only images for linux can run"));
    }
    Ok(normalize(&Platform {
        os: os.into(),
        architecture: architecture.into(),
        variant: variant.into(),
    }))
}

/// One spelling for each platform.
fn normalize(platform: &Platform) -> Platform {
    let architecture = platform.architecture.to_ascii_lowercase();
    let variant = platform.variant.to_ascii_lowercase();
    let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
        ("x86_64" | "x86-64" | "amd64", "v1" | "") => ("amd64", ""),
        ("x86_64" | "x86-64", variant) => ("amd64", variant),
        ("i386" | "i686", _) => ("386", ""),
        ("aarch64" | "arm64", "8" | "v8" | "") => ("arm64", ""),
        ("aarch64", variant) => ("arm64", variant),
        ("armhf", _) | ("arm", "" | "7") => ("arm", "v7"),
        ("armel", _) | ("arm", "6") => ("arm", "v6"),
        ("arm", "5") => ("arm", "v5"),
        ("arm", "8") => ("arm", "v8"),
        (architecture, variant) => (architecture, variant),
    };
    Platform {
        os: platform.os.to_ascii_lowercase(),
        architecture: architecture.into(),
        variant: variant.into(),
    }
}

/// `v9.2` is 9.2: levels of a processor, of which a higher one runs the lower.
fn level(architecture: &str, variant: &str) -> Option<(u32, u32)> {
    if variant.is_empty() {
        return match architecture {
            "amd64" => Some((1, 0)),
            "arm64" => Some((8, 0)),
            _ => None,
        };
    }
    let mut parts = variant.strip_prefix('v')?.splitn(2, '.').map(str::parse::<u32>);
    Some((parts.next()?.ok()?, parts.next().map_or(Some(0), Result::ok)?))
}

/// Does an image for `image` run where `wanted` does? The higher, the better it fits.
fn fit(image: &Platform, wanted: &Platform) -> Option<(u32, u32)> {
    let (image, wanted) = (normalize(image), normalize(wanted));
    if image.os != wanted.os || image.architecture != wanted.architecture {
        return None;
    }
    if image.variant == wanted.variant {
        return Some((u32::MAX, 0));
    }
    let levels = ["amd64", "arm64", "arm"].contains(&image.architecture.as_str());
    let has = level(&image.architecture, &image.variant)?;
    let limit = level(&wanted.architecture, &wanted.variant)?;
    (levels && has <= limit).then_some(has)
}

/// The entry of an index that fits best; of equals the first (image-spec, image-index.md).
pub(crate) fn choose<'a>(entries: &'a [Descriptor], wanted: &Platform) -> Result<&'a Descriptor> {
    let images = || entries.iter().filter(|entry| !entry.is_attachment());
    let mut best: Option<(&Descriptor, (u32, u32))> = None;
    for entry in images() {
        let fit = match &entry.platform {
            // An index of one image without a platform is taken at its maker's word.
            None if images().count() == 1 => Some((0, 0)),
            None => None,
            Some(platform) => fit(platform, wanted),
        };
        if let Some(fit) = fit
            && best.is_none_or(|(_, other)| fit > other)
        {
            best = Some((entry, fit));
        }
    }
    best.map(|(entry, _)| entry).ok_or_else(|| Error::NoPlatform {
        wanted: wanted.to_string(),
        has: images().filter_map(|e| e.platform.as_ref().map(ToString::to_string)).collect(),
    })
}

#[cfg(test)]
mod tests {
    use linkspan_images::Digest;

    use super::*;

    fn chosen(has: &[&str], wanted: &str) -> Option<usize> {
        let entries: Vec<Descriptor> = has
            .iter()
            .enumerate()
            .map(|(i, text)| Descriptor {
                platform: (!text.is_empty()).then(|| {
                    let mut parts = text.split('/').map(str::to_owned);
                    Platform {
                        os: parts.next().unwrap_or_default(),
                        architecture: parts.next().unwrap_or_default(),
                        variant: parts.next().unwrap_or_default(),
                    }
                }),
                ..Descriptor::new("m", Digest::of(&[i as u8]), 1)
            })
            .collect();
        let chosen = choose(&entries, &parse_platform(wanted).unwrap()).ok()?.digest;
        entries.iter().position(|entry| entry.digest == chosen)
    }

    #[test]
    fn the_best_variant_is_chosen_and_never_one_that_does_not_run() {
        for (has, wanted, index) in [
            (&["linux/amd64", "linux/arm64"][..], "linux/arm64", Some(1)),
            (&["linux/amd64", "linux/arm64/v8"], "linux/arm64", Some(1)),
            (&["linux/amd64", "linux/arm64"], "linux/arm64/v8", Some(1)),
            (&["linux/amd64", "linux/amd64/v3"], "linux/amd64", Some(0)),
            (&["linux/amd64/v3", "linux/amd64/v2", "linux/amd64"], "linux/amd64/v2", Some(1)),
            (&["linux/amd64", "linux/amd64/v2"], "linux/amd64/v4", Some(1)),
            (&["linux/amd64/v2"], "linux/amd64", None),
            (&["linux/arm/v5", "linux/arm/v6", "linux/arm/v7"], "linux/arm", Some(2)),
            (&["linux/arm/v5", "linux/arm/v6", "linux/arm/v7"], "linux/arm/v6", Some(1)),
            (&["linux/arm/v5"], "armhf", Some(0)),
            (&["linux/arm/v7"], "linux/arm/v6", None),
            (&["linux/arm64/v9.2"], "linux/arm64/v9", None),
            (&["linux/arm64/v9"], "linux/arm64/v9.2", Some(0)),
            (&["windows/amd64", "unknown/unknown"], "linux/amd64", None),
            (&["linux/x86_64"], "amd64", Some(0)),
            (&["linux/riscv64"], "linux/riscv64", Some(0)),
            (&[""], "linux/amd64", Some(0)),
            (&["", ""], "linux/amd64", None),
            (&["linux/amd64", "linux/amd64"], "linux/amd64", Some(0)),
        ] {
            assert_eq!(chosen(has, wanted), index, "{wanted} of {has:?}");
        }
    }

    #[test]
    fn what_is_not_a_platform_is_refused() {
        for bad in ["", "linux/", "linux/amd64/v1/x", "windows/amd64", "linux/a b", "*/amd64"] {
            assert!(parse_platform(bad).is_err(), "{bad}");
        }
        assert_eq!(parse_platform("Linux/AArch64").unwrap().to_string(), "linux/arm64");
    }
}

//! Platforms as people write them, by the rules of containerd's `platforms` package.

use linkspan_images::Platform;

/// Reads `linux/arm64/v8`, `arm64`, `linux`, and the names that other systems have for them.
/// What is left out is that of `here`.
///
/// # Errors
/// What is wrong with the text.
pub fn parse(text: &str, here: &Platform) -> Result<Platform, String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let parts: Vec<&str> = text.split('/').collect();
    if parts.len() > 3 || parts.iter().any(|part| part.is_empty() || !part.chars().all(legal)) {
        return Err("it must be OS, ARCHITECTURE or OS/ARCHITECTURE[/VARIANT]".to_owned());
    }
    let lower: Vec<String> = parts.iter().map(|part| part.to_ascii_lowercase()).collect();
    match lower.as_slice() {
        [one] => {
            if let Some(os) = known_os(one) {
                return Ok(Platform { os: os.to_owned(), ..here.clone() });
            }
            let (architecture, variant) = architecture(one, "");
            if !KNOWN.contains(&architecture.as_str()) {
                return Err("it is neither an operating system nor an architecture".to_owned());
            }
            Ok(Platform { os: here.os.clone(), architecture, variant })
        }
        [os, rest @ ..] => {
            let variant = rest.get(1).map_or("", String::as_str);
            let (architecture, variant) = architecture(&rest[0], variant);
            let os = known_os(os).unwrap_or(os).to_owned();
            Ok(Platform { os, architecture, variant })
        }
        [] => Err("it is empty".to_owned()),
    }
}

const KNOWN: &[&str] =
    &["386", "amd64", "arm", "arm64", "loong64", "mips64le", "ppc64le", "riscv64", "s390x", "wasm"];

fn known_os(name: &str) -> Option<&str> {
    match name {
        "macos" => Some("darwin"),
        "linux" | "windows" | "darwin" | "freebsd" => Some(name),
        _ => None,
    }
}

/// The name and variant that images use.
fn architecture(name: &str, variant: &str) -> (String, String) {
    let (name, variant) = match (name, variant) {
        ("i386" | "i486" | "i586" | "i686" | "386", _) => ("386", ""),
        ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
        ("x86_64" | "x86-64" | "amd64", variant) => ("amd64", variant),
        ("aarch64" | "arm64", "8" | "v8" | "v8.0") => ("arm64", ""),
        ("aarch64" | "arm64", variant) => ("arm64", variant),
        ("armhf", _) | ("arm", "" | "7") => ("arm", "v7"),
        ("armel", _) | ("arm", "6") => ("arm", "v6"),
        ("arm", "5") => ("arm", "v5"),
        ("arm", "8") => ("arm", "v8"),
        other => other,
    };
    (name.to_owned(), variant.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_have_one_spelling() {
        let here =
            Platform { os: "linux".into(), architecture: "amd64".into(), variant: "".into() };
        for (text, printed) in [
            ("linux/amd64", "linux/amd64"),
            ("LINUX/x86_64", "linux/amd64"),
            ("arm64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("armhf", "linux/arm/v7"),
            ("linux/arm/v6", "linux/arm/v6"),
            ("linux", "linux/amd64"),
            ("windows/amd64", "windows/amd64"),
        ] {
            assert_eq!(parse(text, &here).unwrap().to_string(), printed, "{text}");
        }
        for text in ["", "/", "linux/", "a/b/c/d", "nonsense", "linux/a b"] {
            assert!(parse(text, &here).is_err(), "{text}");
        }
    }
}

//! `--env`, `--env-file`, `--label`, `--label-file`.

use std::collections::HashMap;
use std::path::Path;

use crate::error::Error;

/// The lines of files and then the flags, later ones overriding earlier ones on the other side.
/// A name alone takes its value from our own environment, and is left out when that has none.
///
/// # Errors
/// A file that cannot be read, or a name that cannot be one.
pub(crate) fn environment(
    files: &[impl AsRef<Path>],
    flags: &[String],
    own: impl Fn(&str) -> Option<String>,
) -> Result<Vec<String>, Error> {
    let mut out = Vec::new();
    for file in files {
        out.extend(read_file(file.as_ref(), &own)?);
    }
    for flag in flags {
        if flag.starts_with('=') || flag.is_empty() {
            return Err(Error::invalid(format!("invalid environment variable: {flag}")));
        }
        // Docker keeps a name alone: the daemon then removes the image's.
        match (flag.contains('='), own(flag)) {
            (false, Some(value)) => out.push(format!("{flag}={value}")),
            _ => out.push(flag.clone()),
        }
    }
    Ok(out)
}

/// Labels: a name alone has an empty value.
///
/// # Errors
/// A file that cannot be read, or a label without a name.
pub(crate) fn labels(
    files: &[impl AsRef<Path>],
    flags: &[String],
) -> Result<HashMap<String, String>, Error> {
    let mut lines = Vec::new();
    for file in files {
        lines.extend(read_file(file.as_ref(), &|_| Some(String::new()))?);
    }
    lines.extend(flags.iter().cloned());
    lines
        .into_iter()
        .map(|line| match line.split_once('=') {
            Some(("", _)) => Err(Error::invalid(format!("a label has no name: `{line}`"))),
            Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
            None => Ok((line, String::new())),
        })
        .collect()
}

fn read_file(path: &Path, own: &dyn Fn(&str) -> Option<String>) -> Result<Vec<String>, Error> {
    let bytes = std::fs::read(path)
        .map_err(|error| Error::invalid(format!("cannot read `{}`: {error}", path.display())))?;
    parse(&bytes, own).map_err(|why| Error::invalid(format!("in `{}`: {why}", path.display())))
}

/// Docker's rules (`cli/opts/file.go`, `kvfile`): leading white space goes, `#` begins a comment
/// line, the value is everything after the first `=` as it stands, quotes included.
fn parse(bytes: &[u8], own: &dyn Fn(&str) -> Option<String>) -> Result<Vec<String>, String> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut out = Vec::new();
    for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = std::str::from_utf8(line)
            .map_err(|_| format!("line {} is not UTF-8", number + 1))?
            .trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = match line.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (line.trim_end(), None),
        };
        if name.is_empty() {
            return Err(format!("no variable name on line {}: `{line}`", number + 1));
        }
        if name.contains(char::is_whitespace) {
            return Err(format!("variable `{name}` on line {} contains white space", number + 1));
        }
        match value {
            Some(value) => out.push(format!("{name}={value}")),
            None => out.extend(own(name).map(|value| format!("{name}={value}"))),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(name: &str) -> Option<String> {
        (name == "HERE").then(|| "yes".into())
    }

    #[test]
    fn an_env_file_is_read_as_docker_reads_it() {
        let text = b"\xef\xbb\xbfA=1\n# comment\n\n  B = two words \r\nC=\"quoted\"\nHERE\nMISSING\nD=a=b#c\nE=\n";
        // A space before `=` is part of the name, and refused.
        assert!(parse(text, &own).expect_err("a space in a name").contains("`B `"));
        let text = b"\xef\xbb\xbfA=1\n# comment\n\n  B= two words \r\nC=\"quoted\"\nHERE\nMISSING\nD=a=b#c\nE=\n";
        assert_eq!(
            parse(text, &own).expect("valid"),
            ["A=1", "B= two words ", "C=\"quoted\"", "HERE=yes", "D=a=b#c", "E="]
        );
        assert!(parse(b"=x", &own).expect_err("no name").contains("line 1"));
        assert!(parse(b"A=\xff", &own).expect_err("bytes").contains("UTF-8"));
    }

    #[test]
    fn flags_come_after_files_and_a_bare_name_takes_our_value() {
        let file = std::env::temp_dir().join(format!("linkspan-cli-env-{}", std::process::id()));
        std::fs::write(&file, "A=file\n").expect("a writable temporary folder");
        let flags = ["A=flag".to_owned(), "HERE".into(), "GONE".into()];
        let got = environment(&[&file], &flags, own);
        std::fs::remove_file(&file).expect("removable");
        assert_eq!(got.expect("valid"), ["A=file", "A=flag", "HERE=yes", "GONE"]);
        assert!(environment(&["/nonexistent/x"], &[], own).is_err());
        assert!(environment(&[] as &[&str], &["=x".into()], own).is_err());
    }

    #[test]
    fn a_label_alone_is_empty() {
        let got = labels(&[] as &[&str], &["a=1=2".into(), "b".into()]).expect("valid");
        assert_eq!(got.get("a").map(String::as_str), Some("1=2"));
        assert_eq!(got.get("b").map(String::as_str), Some(""));
    }
}

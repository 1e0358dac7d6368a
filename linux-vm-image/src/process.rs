//! Runs other programs and turns their failures into errors that say which, with what and why.

use std::{
    ffi::OsStr,
    process::{Command, Output},
};

use anyhow::{Context as _, Result, bail};

/// The Debian package that brings a program, for the error when it is missing.
pub(crate) fn package_of(program: &str) -> Option<&'static str> {
    match program {
        "apt-get" | "apt-cache" => Some("apt"),
        "dpkg-deb" | "dpkg-query" => Some("dpkg"),
        "mke2fs" => Some("e2fsprogs"),
        "make" => Some("build-essential"),
        "strip" => Some("binutils"),
        "xz" => Some("xz-utils"),
        "tar" => Some("tar"),
        _ => None,
    }
}

/// A command that finds the administrator's programs too, and speaks plain English so that its
/// output can be read here.
pub(crate) fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/local/sbin:/usr/sbin:/sbin");
    command.env("PATH", path).env("LC_ALL", "C");
    command
}

/// Runs to the end and returns what was printed.
///
/// # Errors
/// When the program is missing (with the package that has it) or fails (with the end of what it said).
pub(crate) fn output(command: &mut Command) -> Result<Vec<u8>> {
    let Output { status, stdout, stderr } = spawned(command.output(), command)?;
    if !status.success() {
        let said = String::from_utf8_lossy(if stderr.is_empty() { &stdout } else { &stderr });
        bail!("`{}` failed ({status}): {}", shown(command), last_lines(&said, 12));
    }
    Ok(stdout)
}

/// [`output`] as text.
pub(crate) fn text(command: &mut Command) -> Result<String> {
    let bytes = output(command)?;
    String::from_utf8(bytes).with_context(|| format!("`{}` did not print UTF-8", shown(command)))
}

/// Turns "not found" into advice.
pub(crate) fn spawned<T>(result: std::io::Result<T>, command: &Command) -> Result<T> {
    result.map_err(|error| {
        let program = command.get_program().to_string_lossy().into_owned();
        let hint = match package_of(&program) {
            Some(package) if error.kind() == std::io::ErrorKind::NotFound => {
                format!(": install the package `{package}`")
            }
            _ => String::new(),
        };
        anyhow::Error::new(error).context(format!("cannot run `{program}`{hint}"))
    })
}

/// The command line as a person would type it.
pub(crate) fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

/// The end of a program's output.
pub(crate) fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_carries_the_end_of_what_was_said() {
        let error = output(command("sh").args(["-c", "echo first; echo why >&2; exit 3"]));
        let error = error.unwrap_err().to_string();
        assert!(error.contains("why") && error.contains("exit status: 3"), "{error}");
    }

    #[test]
    fn a_missing_program_names_its_package() {
        let error = spawned::<()>(Err(std::io::ErrorKind::NotFound.into()), &command("mke2fs"));
        assert!(error.unwrap_err().to_string().contains("`e2fsprogs`"));
    }
}

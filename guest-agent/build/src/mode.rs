//! `--chmod`: octal, or symbolic as chmod(1) has it.

use serde::{Serialize, Serializer};

const ALL: u32 = 0o777;

/// How the mode of what is copied comes from the mode that it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModeChange {
    text: String,
    clauses: Vec<Clause>,
    octal: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Clause {
    /// Bits of user, group and others that are changed, each three and its special bit.
    who: u32,
    actions: Vec<(Operator, Permissions)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Add,
    Remove,
    Set,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Permissions {
    /// Letters: bits for everybody, and whether `X` is among them.
    Letters { bits: u32, x_for_folders: bool },
    /// What that one has: the shift of its three bits.
    CopyOf(u32),
}

impl ModeChange {
    /// Reads `755` or `u=rwX,go=rX`; None for what is neither.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if !text.is_empty() && text.chars().all(|c| c.is_digit(8)) {
            let octal = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777)?;
            return Some(Self { text: text.to_owned(), clauses: Vec::new(), octal: Some(octal) });
        }
        let clauses = text.split(',').map(clause).collect::<Option<Vec<_>>>()?;
        Some(Self { text: text.to_owned(), clauses, octal: None })
    }

    /// As it is written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The new permission bits of something that has these.
    #[must_use]
    pub fn apply(&self, mode: u32, is_folder: bool) -> u32 {
        if let Some(octal) = self.octal {
            return octal;
        }
        let mut mode = mode & 0o7777;
        for Clause { who, actions } in &self.clauses {
            for (operator, permissions) in actions {
                let bits = match permissions {
                    Permissions::CopyOf(shift) => (mode >> shift & 7) * 0o111,
                    Permissions::Letters { bits, x_for_folders } => {
                        let x = *x_for_folders && (is_folder || mode & 0o111 != 0);
                        bits | if x { 0o111 } else { 0 }
                    }
                } & who;
                mode = match operator {
                    Operator::Add => mode | bits,
                    Operator::Remove => mode & !bits,
                    Operator::Set => mode & !(who & (ALL | 0o6000)) | bits,
                };
            }
        }
        mode
    }
}

fn clause(text: &str) -> Option<Clause> {
    let end = text.find(['+', '-', '='])?;
    let mut who = 0;
    for c in text[..end].chars() {
        who |= match c {
            'u' => 0o4700,
            'g' => 0o2070,
            'o' => 0o1007,
            'a' => 0o7777,
            _ => return None,
        };
    }
    // Nobody is everybody; a umask plays no part in a build.
    if who == 0 {
        who = 0o7777;
    }
    let mut actions = Vec::new();
    let mut rest = &text[end..];
    while let Some(operator) = rest.chars().next() {
        let operator = match operator {
            '+' => Operator::Add,
            '-' => Operator::Remove,
            _ => Operator::Set,
        };
        let letters = &rest[1..];
        let end = letters.find(['+', '-', '=']).unwrap_or(letters.len());
        actions.push((operator, permissions(&letters[..end])?));
        rest = &letters[end..];
    }
    Some(Clause { who, actions })
}

fn permissions(letters: &str) -> Option<Permissions> {
    match letters {
        "u" => return Some(Permissions::CopyOf(6)),
        "g" => return Some(Permissions::CopyOf(3)),
        "o" => return Some(Permissions::CopyOf(0)),
        _ => {}
    }
    let (mut bits, mut x_for_folders) = (0, false);
    for c in letters.chars() {
        match c {
            'r' => bits |= 0o444,
            'w' => bits |= 0o222,
            'x' => bits |= 0o111,
            's' => bits |= 0o6000,
            't' => bits |= 0o1000,
            'X' => x_for_folders = true,
            _ => return None,
        }
    }
    Some(Permissions::Letters { bits, x_for_folders })
}

impl Serialize for ModeChange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_what_chmod_makes_of_them() {
        for (text, before, folder, after) in [
            ("755", 0o600, false, 0o755),
            ("0640", 0o777, false, 0o640),
            ("4755", 0o600, false, 0o4755),
            ("+x", 0o644, false, 0o755),
            ("u+x", 0o644, false, 0o744),
            ("go-rwx", 0o777, false, 0o700),
            ("g=u", 0o640, false, 0o660),
            ("u=rwX,go=rX", 0o640, false, 0o644),
            ("u=rwX,go=rX", 0o700, false, 0o755),
            ("u=rwX,go=rX", 0o600, true, 0o755),
            ("a=r,u+w", 0o777, false, 0o644),
            ("u+s", 0o755, false, 0o4755),
            ("+t", 0o777, true, 0o1777),
            ("u=", 0o4755, false, 0o055),
        ] {
            let mode = ModeChange::parse(text).unwrap().apply(before, folder);
            assert_eq!(mode, after, "{text} of {before:o} is {mode:o}");
        }
        for text in ["", "888", "10000", "u", "q+x", "u+q", "u=rw,", "rw"] {
            assert_eq!(ModeChange::parse(text), None, "{text}");
        }
    }
}

//! Cache keys: by what the result of a step is found again.
//!
//! As in BuildKit, a key is made of what the step does, what it stands on, and the contents that it
//! reads. The contents are known only when the build runs: until then they are [`Hole`]s.

use serde::Serialize;
use sha2::{Digest, Sha256};

/// What a step stands on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Parent {
    /// Nothing: the first step of a stage from scratch, and each with `--link`.
    Nothing,
    /// An image, by its digest.
    Image(String),
    /// A step before.
    Step {
        /// The index in [`Plan::stages`](super::Plan::stages).
        stage: usize,
        /// The index in that stage's steps.
        step: usize,
    },
}

/// What only the execution knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Hole {
    /// The digest of these files of the context: paths, modes, owners and contents, not times.
    ContextFiles {
        /// Paths with wildcards.
        paths: Vec<String>,
        /// What is left out of them.
        excludes: Vec<String>,
    },
    /// The same of another stage.
    StageFiles {
        /// The index in [`Plan::stages`](super::Plan::stages).
        stage: usize,
        /// Paths with wildcards.
        paths: Vec<String>,
        /// What is left out of them.
        excludes: Vec<String>,
    },
    /// The digest of a download without `--checksum`.
    Url(String),
    /// The commit that a reference names now.
    Commit {
        /// The URL.
        remote: String,
        /// None: the default branch.
        reference: Option<String>,
    },
}

/// The inputs of a key, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Key {
    /// What it stands on.
    pub parent: Parent,
    /// Names and values that are known. Their order is fixed.
    pub known: Vec<(&'static str, String)>,
    /// What is not known yet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub holes: Vec<Hole>,
}

impl Key {
    /// The key itself: SHA-256 in hexadecimal.
    ///
    /// `parent` is the key of the step that [`Parent::Step`] names, and is not used otherwise.
    /// `fill` has the value of a hole; None if one is not known, and then the key is not either.
    #[must_use]
    pub fn digest(&self, parent: &str, fill: impl Fn(&Hole) -> Option<String>) -> Option<String> {
        let mut hash = Sha256::new();
        // With lengths, so that no two lists of parts read the same.
        let mut part = |text: &str| {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        };
        match &self.parent {
            Parent::Nothing => part("nothing"),
            Parent::Image(digest) => {
                part("image");
                part(digest);
            }
            Parent::Step { .. } => {
                part("step");
                part(parent);
            }
        }
        for (name, value) in &self.known {
            part(name);
            part(value);
        }
        for hole in &self.holes {
            part("content");
            part(&fill(hole)?);
        }
        Some(hex::encode(hash.finalize()))
    }
}

/// A value in a key: the same value is always the same text.
pub(super) fn json(value: &impl Serialize) -> String {
    // Plain structures without maps of foreign keys cannot fail.
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_depends_on_each_input_and_needs_all_holes() {
        let key = Key {
            parent: Parent::Step { stage: 0, step: 0 },
            known: vec![("arguments", "a".into()), ("env", "b".into())],
            holes: vec![Hole::Url("http://x".into())],
        };
        let digest = |key: &Key, parent, content: &str| {
            key.digest(parent, |_| Some(content.to_owned())).unwrap()
        };
        let first = digest(&key, "p", "c");
        assert_eq!(first, digest(&key.clone(), "p", "c"));
        assert_ne!(first, digest(&key, "q", "c"));
        assert_ne!(first, digest(&key, "p", "d"));
        let mut other = key.clone();
        other.known = vec![("arguments", "ab".into()), ("env", String::new())];
        assert_ne!(first, digest(&other, "p", "c"));
        assert_eq!(key.digest("p", |_| None), None);
    }
}

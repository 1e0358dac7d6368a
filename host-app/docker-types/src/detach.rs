//! The keys that leave a container without ending it (`ctrl-p,ctrl-q`).

/// A sequence of bytes that detaches, and how much of it has been typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DetachKeys {
    keys: Vec<u8>,
    matched: usize,
}

/// What to do with what was typed.
#[derive(Debug, PartialEq, Eq)]
pub struct Filtered {
    /// Goes to the container.
    pub pass: Vec<u8>,
    /// The sequence is complete; what was typed after it is dropped.
    pub detached: bool,
}

impl Default for DetachKeys {
    fn default() -> Self {
        Self { keys: vec![0x10, 0x11], matched: 0 }
    }
}

impl std::str::FromStr for DetachKeys {
    type Err = String;

    /// Docker's notation: `a`, `ctrl-a`, `ctrl-@`, `ctrl-[`, `ctrl-\\`, `ctrl-]`, `ctrl-^`,
    /// `ctrl-_`, separated by commas. `DEL` is the byte 127.
    fn from_str(text: &str) -> Result<Self, String> {
        let keys = text.split(',').map(key).collect::<Result<Vec<u8>, String>>()?;
        Ok(Self { keys, matched: 0 })
    }
}

fn key(text: &str) -> Result<u8, String> {
    if let [byte] = text.as_bytes() {
        return Ok(*byte);
    }
    if text.eq_ignore_ascii_case("del") {
        return Ok(127);
    }
    let bad = || {
        format!("`{text}` is not a key: use a character, or `ctrl-` and a letter or one of @[\\]^_")
    };
    let control = text.get(..5).filter(|prefix| prefix.eq_ignore_ascii_case("ctrl-"));
    let letter = control.and_then(|_| text.get(5..)).ok_or_else(bad)?;
    match letter.as_bytes() {
        [letter @ b'a'..=b'z'] => Ok(letter - b'a' + 1),
        [letter @ b'A'..=b'Z'] => Ok(letter - b'A' + 1),
        [sign @ (b'@' | b'[' | b'\\' | b']' | b'^' | b'_')] => Ok(sign - b'@'),
        _ => Err(bad()),
    }
}

impl DetachKeys {
    /// Takes what was typed. Bytes that may begin the sequence are held back until the next ones
    /// show that they do not.
    pub fn filter(&mut self, typed: &[u8]) -> Filtered {
        let mut pass = Vec::with_capacity(typed.len() + self.matched);
        for &byte in typed {
            // Falls back through shorter beginnings, so that `a` typed twice before the rest
            // of `a,b` still detaches.
            while self.matched > 0 && self.keys[self.matched] != byte {
                let next = self.longest_beginning_within();
                pass.extend_from_slice(&self.keys[..self.matched - next]);
                self.matched = next;
            }
            if self.keys[self.matched] == byte {
                self.matched += 1;
            } else {
                pass.push(byte);
            }
            if self.matched == self.keys.len() {
                self.matched = 0;
                return Filtered { pass, detached: true };
            }
        }
        Filtered { pass, detached: false }
    }

    /// What is still held back when the input ends.
    pub fn finish(&mut self) -> Vec<u8> {
        let held = self.keys[..self.matched].to_vec();
        self.matched = 0;
        held
    }

    /// The longest proper end of what is matched that is also a beginning of the sequence.
    fn longest_beginning_within(&self) -> usize {
        let matched = &self.keys[..self.matched];
        (1..self.matched).rev().find(|&length| matched.ends_with(&self.keys[..length])).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys(text: &str) -> DetachKeys {
        text.parse().expect("valid keys")
    }

    #[test]
    fn keys_are_written_as_docker_writes_them() {
        assert_eq!(keys("ctrl-p,ctrl-q"), DetachKeys::default());
        assert_eq!(
            keys("ctrl-@,ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_").keys,
            [0, 27, 28, 29, 30, 31]
        );
        assert_eq!(keys("a,CTRL-Z,DEL").keys, [b'a', 26, 127]);
        for text in ["", "ctrl-", "ctrl-1", "ctrl-ab", "ab", "a,,b", "ctrl-é", "é"] {
            assert!(text.parse::<DetachKeys>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_sequence_may_come_in_pieces_and_after_false_starts() {
        let mut detach = keys("ctrl-p,ctrl-p,ctrl-q");
        assert_eq!(detach.filter(b"x\x10"), Filtered { pass: b"x".to_vec(), detached: false });
        assert_eq!(detach.filter(b"\x10"), Filtered { pass: vec![], detached: false });
        assert_eq!(detach.filter(b"\x10"), Filtered { pass: vec![0x10], detached: false });
        assert_eq!(detach.filter(b"\x11gone"), Filtered { pass: vec![], detached: true });
    }

    #[test]
    fn what_was_held_back_is_not_lost() {
        let mut detach = DetachKeys::default();
        assert_eq!(detach.filter(b"a\x10").pass, b"a");
        assert_eq!(detach.filter(b"b").pass, b"\x10b");
        assert_eq!(detach.filter(b"\x10").pass, b"");
        assert_eq!(detach.finish(), b"\x10");
        assert_eq!(detach.finish(), b"");
    }

    proptest! {
        /// Compared with a search over the whole input at once.
        #[test]
        fn every_byte_before_the_sequence_passes_once(
            sequence in prop::collection::vec(0_u8..3, 1..5),
            typed in prop::collection::vec(0_u8..4, 0..60),
            cuts in prop::collection::vec(0_usize..60, 0..6),
        ) {
            let mut detach = DetachKeys { keys: sequence.clone(), matched: 0 };
            let mut passed = Vec::new();
            let mut detached = false;
            let mut cuts = cuts;
            cuts.push(typed.len());
            cuts.sort_unstable();
            let mut from = 0;
            for cut in cuts {
                let to = cut.min(typed.len());
                let out = detach.filter(&typed[from..to]);
                passed.extend(out.pass);
                from = to;
                if out.detached {
                    detached = true;
                    break;
                }
            }
            if !detached {
                passed.extend(detach.finish());
            }
            let at = typed.windows(sequence.len()).position(|window| window == sequence);
            prop_assert_eq!(detached, at.is_some());
            prop_assert_eq!(&passed, &typed[..at.unwrap_or(typed.len())]);
        }
    }
}

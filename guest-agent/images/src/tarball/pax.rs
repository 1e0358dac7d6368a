//! PAX records: `<length> <keyword>=<value>\n`, the value being any bytes.

use super::sparse::{MAX_SEGMENTS, Map};
use super::{Fault, Time, bad};

/// Prefix of extended attributes, as star, GNU tar and Go write them.
const XATTR: &[u8] = b"SCHILY.xattr.";

/// The records that are in force for an entry. Later ones win; an empty value takes one back.
#[derive(Debug, Clone, Default)]
pub(super) struct Records(Vec<(Vec<u8>, Vec<u8>)>);

impl Records {
    /// Adds the contents of an extended header.
    pub(super) fn add(&mut self, mut bytes: &[u8]) -> Result<(), Fault> {
        let malformed = || bad("an extended header is malformed");
        while !bytes.is_empty() {
            // Some writers pad with zeros.
            if bytes.iter().all(|byte| *byte == 0) {
                return Ok(());
            }
            let space = bytes.iter().position(|byte| *byte == b' ').ok_or_else(malformed)?;
            let length = std::str::from_utf8(&bytes[..space])
                .ok()
                .and_then(|digits| digits.parse::<usize>().ok())
                .filter(|length| *length > space + 1 && *length <= bytes.len())
                .ok_or_else(malformed)?;
            let record = &bytes[space + 1..length];
            let record = record.strip_suffix(b"\n").ok_or_else(malformed)?;
            let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(malformed)?;
            self.set(&record[..equals], &record[equals + 1..]);
            bytes = &bytes[length..];
        }
        Ok(())
    }

    fn set(&mut self, key: &[u8], value: &[u8]) {
        // The only keywords that repeat (PAX sparse format 0.0): each pair is one part.
        let repeats = matches!(key, b"GNU.sparse.offset" | b"GNU.sparse.numbytes");
        if !repeats {
            self.0.retain(|(other, _)| other != key);
        }
        // For attributes an empty value is a value.
        if !value.is_empty() || key.starts_with(XATTR) {
            self.0.push((key.to_vec(), value.to_vec()));
        }
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&[u8]> {
        self.0.iter().find(|(other, _)| other == key).map(|(_, value)| value.as_slice())
    }

    /// GNU's sparse formats give the entry itself a made-up name.
    pub(super) fn path(&self) -> Option<&[u8]> {
        self.get(b"GNU.sparse.name").or_else(|| self.get(b"path"))
    }

    pub(super) fn number(&self, key: &str) -> Result<Option<u64>, Fault> {
        self.get(key.as_bytes()).map(|value| decimal(value, key)).transpose()
    }

    /// Seconds with any number of decimals, possibly negative.
    pub(super) fn mtime(&self) -> Result<Option<Time>, Fault> {
        self.get(b"mtime").map(time).transpose()
    }

    pub(super) fn xattrs(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.0
            .iter()
            .filter_map(|(key, value)| Some((key.strip_prefix(XATTR)?.to_vec(), value.clone())))
            .collect()
    }

    /// Format 1.0.
    pub(super) fn is_sparse_in_contents(&self) -> bool {
        self.get(b"GNU.sparse.major") == Some(b"1")
    }

    /// Formats 0.0 and 0.1: the map is in the records.
    pub(super) fn sparse(&self) -> Result<Option<Map>, Fault> {
        let Some(size) = self.number("GNU.sparse.size")? else { return Ok(None) };
        let numbers: Vec<&[u8]> = match self.get(b"GNU.sparse.map") {
            Some(map) => map.split(|byte| *byte == b',').collect(),
            None => {
                let parts = self.0.iter().filter(|(key, _)| {
                    matches!(key.as_slice(), b"GNU.sparse.offset" | b"GNU.sparse.numbytes")
                });
                parts.map(|(_, value)| value.as_slice()).collect()
            }
        };
        if numbers.len() as u64 > 2 * MAX_SEGMENTS || !numbers.len().is_multiple_of(2) {
            return Err(bad("a sparse map is malformed"));
        }
        let mut segments = Vec::with_capacity(numbers.len() / 2);
        for pair in numbers.chunks_exact(2) {
            segments.push((decimal(pair[0], "sparse map")?, decimal(pair[1], "sparse map")?));
        }
        Ok(Some(Map::new(segments, size)))
    }
}

fn decimal(value: &[u8], what: &str) -> Result<u64, Fault> {
    std::str::from_utf8(value)
        .ok()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| bad(format!("the {what} `{}` is not a number", value.escape_ascii())))
}

fn time(value: &[u8]) -> Result<Time, Fault> {
    let malformed = || bad(format!("the time `{}` is malformed", value.escape_ascii()));
    let text = std::str::from_utf8(value).map_err(|_| malformed())?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let negative = whole.starts_with('-');
    let seconds: i64 = whole.parse().map_err(|_| malformed())?;
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(malformed());
    }
    let nine: String = fraction.chars().chain(std::iter::repeat('0')).take(9).collect();
    let nanos: u32 = nine.parse().map_err(|_| malformed())?;
    if negative && nanos > 0 {
        // -1.25 is 0.75 after -2.
        let seconds = seconds.checked_sub(1).ok_or_else(malformed)?;
        return Ok(Time { seconds, nanos: 1_000_000_000 - nanos });
    }
    Ok(Time { seconds, nanos })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: &str, value: &[u8]) -> Vec<u8> {
        // The length counts its own digits.
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while rest + length.to_string().len() != length {
            length += 1;
        }
        [length.to_string().as_bytes(), b" ", key.as_bytes(), b"=", value, b"\n"].concat()
    }

    #[test]
    fn values_may_hold_line_feeds_and_equals_signs() {
        let mut records = Records::default();
        let value = b"\x01\0\0\x02\n10 path=x\n\0=";
        records.add(&record("SCHILY.xattr.security.capability", value)).unwrap();
        records.add(&record("path", b"a=b")).unwrap();
        assert_eq!(records.xattrs(), [(b"security.capability".to_vec(), value.to_vec())]);
        assert_eq!(records.path(), Some(&b"a=b"[..]));
    }

    #[test]
    fn later_records_win_and_empty_ones_take_back() {
        let mut records = Records::default();
        records.add(&[record("uid", b"1"), record("uid", b"2")].concat()).unwrap();
        assert_eq!(records.number("uid").unwrap(), Some(2));
        records.add(&record("uid", b"")).unwrap();
        assert_eq!(records.number("uid").unwrap(), None);
    }

    #[test]
    fn malformed_records_are_refused() {
        for bytes in [
            &b"x"[..],
            b"5 a=b",
            b"99 a=b\n",
            b"3 a\n",
            b"1 \n",
            b"0 a=b\n",
            b"6 a=bc\n",
            b"-6 a=b\n",
            b"6 aab\n",
        ] {
            assert!(Records::default().add(bytes).is_err(), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn times_have_nanoseconds_before_and_after_1970() {
        assert_eq!(time(b"1.5").unwrap(), Time { seconds: 1, nanos: 500_000_000 });
        assert_eq!(time(b"1.0000000019").unwrap(), Time { seconds: 1, nanos: 1 });
        assert_eq!(time(b"-1.25").unwrap(), Time { seconds: -2, nanos: 750_000_000 });
        assert_eq!(time(b"-0.25").unwrap(), Time { seconds: -1, nanos: 750_000_000 });
        assert_eq!(time(b"7").unwrap(), Time { seconds: 7, nanos: 0 });
        for bad in [&b"x"[..], b"", b"1.x", b"1.-5", b"\xff"] {
            assert!(time(bad).is_err());
        }
    }
}

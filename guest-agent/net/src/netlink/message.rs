//! One netlink message as it grows: header, family header, attributes.

/// `NLM_F_REQUEST | NLM_F_ACK` (linux/netlink.h): every request is answered, if only by "done".
const REQUEST_AND_ACK: u16 = 0x1 | 0x4;
/// `NLM_F_CREATE | NLM_F_EXCL`: make it, and complain when it is there.
pub(crate) const CREATE: u16 = 0x400 | 0x200;
/// `NLM_F_CREATE | NLM_F_APPEND`: a rule goes to the end of its chain.
pub(crate) const APPEND: u16 = 0x400 | 0x800;
/// `NLM_F_ROOT | NLM_F_MATCH`: all of them.
pub(crate) const DUMP: u16 = 0x100 | 0x200;
/// `NLA_F_NESTED`.
const NESTED: u16 = 0x8000;
const HEADER: usize = 16;

/// A request. The socket fills in its sequence number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message(Vec<u8>);

impl Message {
    /// `family` is the header that the subsystem puts behind the common one.
    pub(crate) fn new(kind: u16, flags: u16, family: &[u8]) -> Self {
        Self::with_flags(kind, flags | REQUEST_AND_ACK, family)
    }

    /// A request that is not answered: the brackets of an nf_tables batch.
    pub(crate) fn silent(kind: u16, family: &[u8]) -> Self {
        Self::with_flags(kind, 0x1, family)
    }

    fn with_flags(kind: u16, flags: u16, family: &[u8]) -> Self {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        bytes.extend_from_slice(family);
        pad(&mut bytes);
        Self(bytes)
    }

    pub(crate) fn bytes(mut self, kind: u16, value: &[u8]) -> Self {
        attribute(&mut self.0, kind, |bytes| bytes.extend_from_slice(value));
        self
    }

    /// In the machine's byte order, as rtnetlink wants it.
    pub(crate) fn u32(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_ne_bytes())
    }

    /// In network byte order, as nf_tables wants it.
    pub(crate) fn be32(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// With the zero that ends it.
    pub(crate) fn text(mut self, kind: u16, value: &str) -> Self {
        attribute(&mut self.0, kind, |bytes| {
            bytes.extend_from_slice(value.as_bytes());
            bytes.push(0);
        });
        self
    }

    /// Bytes without a header of their own inside an attribute: the family header of a veth's
    /// peer (linux/veth.h).
    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        pad(&mut self.0);
        self
    }

    /// An attribute that holds attributes.
    pub(crate) fn nest(mut self, kind: u16, inner: impl FnOnce(Self) -> Self) -> Self {
        attribute(&mut self.0, kind | NESTED, |bytes| {
            *bytes = inner(Self(std::mem::take(bytes))).0;
        });
        self
    }

    /// Finished: with its length and number.
    pub(crate) fn numbered(mut self, sequence: u32) -> Vec<u8> {
        let length = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0[..4].copy_from_slice(&length.to_ne_bytes());
        self.0[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.0
    }

    /// Whether the kernel was asked to answer.
    pub(crate) fn is_answered(&self) -> bool {
        u16::from_ne_bytes([self.0[6], self.0[7]]) & 0x4 != 0
    }
}

fn attribute(bytes: &mut Vec<u8>, kind: u16, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = bytes.len();
    bytes.extend_from_slice(&[0; 4]);
    fill(bytes);
    let length = u16::try_from(bytes.len() - start).unwrap_or(u16::MAX);
    bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
    bytes[start + 2..start + 4].copy_from_slice(&kind.to_ne_bytes());
    pad(bytes);
}

/// To the next multiple of four (NLA_ALIGN).
fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// The attributes in `bytes`: kind and value. Ends at the first one that is not whole.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?) & 0x3fff;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_is_padded_and_its_length_is_not() {
        let bytes = Message::new(16, 0, &[]).text(3, "eth0").u32(4, 7).numbered(9);
        assert_eq!(u32::from_ne_bytes(bytes[..4].try_into().unwrap()) as usize, bytes.len());
        let found: Vec<_> = attributes(&bytes[HEADER..]).collect();
        assert_eq!(found, [(3, &b"eth0\0"[..]), (4, &7_u32.to_ne_bytes()[..])]);
    }

    #[test]
    fn nests_hold_what_was_put_into_them() {
        let bytes = Message::new(16, 0, &[1, 2, 3, 4]).nest(18, |m| m.text(1, "veth")).numbered(1);
        let (kind, inner) = attributes(&bytes[HEADER + 4..]).next().unwrap();
        assert_eq!(kind, 18);
        assert_eq!(attributes(inner).next(), Some((1, &b"veth\0"[..])));
    }

    #[test]
    fn attributes_that_are_cut_off_end_the_list() {
        for bytes in [&[][..], &[9], &[8, 0, 1, 0, 7], &[2, 0, 1, 0], &[0, 0, 0, 0]] {
            assert_eq!(attributes(bytes).count(), 0, "{bytes:?}");
        }
    }
}

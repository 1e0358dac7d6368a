//! The patterns that choose images by their names.

use crate::reference::Reference;

/// `reference.FamiliarMatch`: the pattern against the whole reference or the repository.
pub(super) fn matches(pattern: &str, reference: &Reference) -> bool {
    let glob = |text: &str| glob(pattern.as_bytes(), text.as_bytes());
    if glob(&reference.familiar()) || glob(&reference.familiar_name()) {
        return true;
    }
    // So that `docker.io/library/busybox` finds what is shown as `busybox`.
    glob(&reference.to_string()) || glob(&reference.repository())
}

/// Go's `path.Match`, without the escape character, which no reference can contain. A mismatch
/// goes back to the last `*` only: what an earlier one could take more, the last one can too.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Behind the last `*`, and where what follows it was last tried.
    let mut star = None;
    loop {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            star = Some((p, t));
        } else if p == pattern.len() && t == text.len() {
            return true;
        } else if let Some(used) = text.get(t).and_then(|c| one(&pattern[p..], *c)) {
            (p, t) = (p + used, t + 1);
        } else {
            match star {
                Some((after, from)) if text.get(from).is_some_and(|c| *c != b'/') => {
                    (p, t) = (after, from + 1);
                    star = Some((after, t));
                }
                _ => return false,
            }
        }
    }
}

/// How much of the pattern matches this one character.
fn one(pattern: &[u8], c: u8) -> Option<usize> {
    match pattern.split_first()? {
        (b'?', _) => (c != b'/').then_some(1),
        (b'[', rest) => {
            let end = rest.iter().position(|c| *c == b']')?;
            let (set, negated) = match rest[..end].split_first() {
                Some((b'^', set)) => (set, true),
                _ => (&rest[..end], false),
            };
            (in_set(set, c) != negated && c != b'/').then_some(end + 2)
        }
        (same, _) => (*same == c).then_some(1),
    }
}

/// Whether every class has an end, as `path.Match` asks for.
pub(super) fn is_pattern(pattern: &[u8]) -> bool {
    let mut rest = pattern;
    while let Some(begin) = rest.iter().position(|c| *c == b'[') {
        // An empty class has no end either: its `]` is a member.
        let class = &rest[begin + 1..];
        match class.iter().position(|c| *c == b']') {
            Some(end) if end > usize::from(class.starts_with(b"^")) => rest = &class[end + 1..],
            _ => return false,
        }
    }
    true
}

fn in_set(mut set: &[u8], c: u8) -> bool {
    while let Some((first, rest)) = set.split_first() {
        match rest {
            [b'-', last, after @ ..] => {
                if (*first..=*last).contains(&c) {
                    return true;
                }
                set = after;
            }
            _ if *first == c => return true,
            _ => set = rest,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_within_one_component() {
        let reference = Reference::parse("linkspan/hello:v1").unwrap();
        for pattern in [
            "linkspan/hello",
            "linkspan/hello:v1",
            "linkspan/*",
            "*/hello:v?",
            "l*/h*o",
            "linkspan/hello:v[0-9]",
        ] {
            assert!(matches(pattern, &reference), "{pattern}");
        }
        for pattern in [
            "hello",
            "*",
            "linkspan",
            "linkspan/hello:v2",
            "linkspan/hello:v[^0-9]",
            "linkspan/hello:v[",
        ] {
            assert!(!matches(pattern, &reference), "{pattern}");
        }
        // Would take the age of the universe if every `*` were tried in every place.
        assert!(!matches(&("l*".repeat(60) + "x"), &Reference::parse(&"l".repeat(120)).unwrap()));
        assert!(matches("docker.io/library/busybox", &Reference::parse("busybox:1").unwrap()));
    }
}

//! Go's `filepath.Match` within one part of a path: what wildcards of COPY mean.

/// Whether there is a wildcard, or an escape, in it.
pub(crate) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '[', '\\'])
}

/// Whether a name matches. A malformed pattern matches nothing.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    matches_from(&pattern, &name)
}

fn matches_from(pattern: &[char], name: &[char]) -> bool {
    let Some((first, rest)) = pattern.split_first() else { return name.is_empty() };
    match first {
        '*' => (0..=name.len()).any(|skip| matches_from(rest, &name[skip..])),
        '?' => !name.is_empty() && matches_from(rest, &name[1..]),
        '[' => match (set(rest), name.split_first()) {
            (Some((members, after)), Some((c, others))) => {
                members.has(*c) && matches_from(&rest[after..], others)
            }
            _ => false,
        },
        '\\' => match (rest.split_first(), name.split_first()) {
            (Some((wanted, rest)), Some((c, others))) => wanted == c && matches_from(rest, others),
            _ => false,
        },
        wanted => name.first() == Some(wanted) && matches_from(rest, &name[1..]),
    }
}

struct Set {
    negated: bool,
    ranges: Vec<(char, char)>,
}

impl Set {
    fn has(&self, c: char) -> bool {
        self.ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != self.negated
    }
}

/// The set after a `[`, and where it ends.
fn set(text: &[char]) -> Option<(Set, usize)> {
    let mut at = 0;
    let negated = text.first() == Some(&'^');
    at += usize::from(negated);
    let mut ranges = Vec::new();
    loop {
        if *text.get(at)? == ']' && !ranges.is_empty() {
            return Some((Set { negated, ranges }, at + 1));
        }
        let low = one(text, &mut at)?;
        let mut high = low;
        if text.get(at) == Some(&'-') {
            at += 1;
            high = one(text, &mut at)?;
        }
        ranges.push((low, high));
    }
}

fn one(text: &[char], at: &mut usize) -> Option<char> {
    let mut c = *text.get(*at)?;
    if c == '-' || c == ']' {
        return None;
    }
    *at += 1;
    if c == '\\' {
        c = *text.get(*at)?;
        *at += 1;
    }
    Some(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_are_gos() {
        for (pattern, name, expected) in [
            ("*", "", true),
            ("*.txt", "a.txt", true),
            ("*.txt", "a.txt.gz", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[^a-c]x", "zx", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("[", "[", false),
            ("[a", "a", false),
            ("a*b*c", "axxbyyc", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}

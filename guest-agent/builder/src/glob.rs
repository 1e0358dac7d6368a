//! Go's `filepath.Match` within one part of a path: what wildcards of COPY mean.

/// Whether there is a wildcard, or an escape, in it.
pub(crate) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '[', '\\'])
}

/// Whether a name matches. A malformed pattern matches nothing.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    tokens(&pattern).is_some_and(|tokens| fits(&tokens, &name))
}

enum Token {
    /// Any number of characters.
    Star,
    One(Set),
}

/// None: it is malformed.
fn tokens(pattern: &[char]) -> Option<Vec<Token>> {
    let exactly = |c: char| Token::One(Set { negated: false, ranges: vec![(c, c)] });
    let (mut tokens, mut at) = (Vec::new(), 0);
    while let Some(c) = pattern.get(at) {
        at += 1;
        tokens.push(match c {
            '*' => Token::Star,
            // None of none.
            '?' => Token::One(Set { negated: true, ranges: Vec::new() }),
            '[' => {
                let (set, length) = set(&pattern[at..])?;
                at += length;
                Token::One(set)
            }
            '\\' => {
                at += 1;
                exactly(*pattern.get(at - 1)?)
            }
            c => exactly(*c),
        });
    }
    Some(tokens)
}

/// Goes back to the last star only: whatever an earlier one could take, the last can take as well.
fn fits(tokens: &[Token], name: &[char]) -> bool {
    let (mut token, mut at) = (0, 0);
    let mut last: Option<(usize, usize)> = None;
    loop {
        match (tokens.get(token), name.get(at)) {
            (None, None) => return true,
            (Some(Token::Star), _) => {
                last = Some((token, at));
                token += 1;
            }
            (Some(Token::One(set)), Some(c)) if set.has(*c) => {
                token += 1;
                at += 1;
            }
            _ => {
                let Some((star, from)) = last.filter(|(_, from)| *from < name.len()) else {
                    return false;
                };
                last = Some((star, from + 1));
                (token, at) = (star + 1, from + 1);
            }
        }
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
            ("a*b*c", "axxbyycd", false),
            ("*ab", "aab", true),
            ("**", "", true),
            ("a\\", "a", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    /// With a way back to each star it would take as long as the universe lasts.
    #[test]
    fn many_stars_come_to_an_end() {
        assert!(!matches(&"a*".repeat(60), &"a".repeat(250)[..59]));
        assert!(!matches(&format!("{}b", "a*".repeat(60)), &"a".repeat(250)));
        assert!(matches(&format!("{}b", "a*".repeat(60)), &format!("{}b", "a".repeat(249))));
    }
}

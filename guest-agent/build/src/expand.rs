//! Words, quotes and variables, as BuildKit's `frontend/dockerfile/shell` has them.
//!
//! One [`Lexer`] takes quotes and escapes away and puts the values of variables in. What a `$` means
//! in the shell of a RUN is not its business: RUN is not expanded.

mod pattern;

use crate::env::Env;

/// `${a:-${b:-...}}` deeper than this is refused: the lexer is recursive.
const MAX_DEPTH: usize = 64;
/// By how much variables may lengthen a text: `ENV A=$A$A` forty times is more memory than there is.
const MAX_GROWTH: usize = 1 << 20;

/// How to read a text.
#[derive(Clone, Copy)]
pub(crate) struct Lexer<'e> {
    /// Escapes a character: `\`, or what the escape directive says.
    pub(crate) escape: char,
    pub(crate) env: &'e Env,
    /// Quotes stay in the result.
    pub(crate) raw_quotes: bool,
    /// Escapes stay in the result.
    pub(crate) raw_escapes: bool,
    /// Quotes mean nothing.
    pub(crate) ignore_quotes: bool,
    /// An unset variable stays as it is written.
    pub(crate) keep_unset: bool,
}

impl<'e> Lexer<'e> {
    pub(crate) fn new(escape: char, env: &'e Env) -> Self {
        let (raw_quotes, raw_escapes, ignore_quotes, keep_unset) = (false, false, false, false);
        Self { escape, env, raw_quotes, raw_escapes, ignore_quotes, keep_unset }
    }

    /// The text as one word.
    pub(crate) fn word(&self, text: &str) -> Result<String, String> {
        self.run(text).map(|(word, _)| word)
    }

    /// The text split at blanks that are not in quotes, after the variables were put in.
    pub(crate) fn words(&self, text: &str) -> Result<Vec<String>, String> {
        self.run(text).map(|(_, words)| words)
    }

    fn run(&self, text: &str) -> Result<(String, Vec<String>), String> {
        let (lexer, chars) = (*self, text.chars().collect());
        let mut cursor = Cursor { lexer, chars, at: 0, depth: 0, room: MAX_GROWTH };
        cursor.until(None, self.raw_escapes)
    }
}

#[derive(Default)]
struct Words {
    word: String,
    done: Vec<String>,
}

impl Words {
    fn push(&mut self, c: char) {
        if !c.is_whitespace() {
            self.word.push(c);
        } else if !self.word.is_empty() {
            self.done.push(std::mem::take(&mut self.word));
        }
    }

    fn finish(mut self) -> Vec<String> {
        if !self.word.is_empty() {
            self.done.push(self.word);
        }
        self.done
    }
}

struct Cursor<'e> {
    lexer: Lexer<'e>,
    chars: Vec<char>,
    at: usize,
    depth: usize,
    /// Bytes that variables may still add.
    room: usize,
}

impl Cursor<'_> {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek();
        self.at += usize::from(next.is_some());
        next
    }

    /// Up to and past the stop, or to the end without one.
    fn until(
        &mut self,
        stop: Option<char>,
        raw_escapes: bool,
    ) -> Result<(String, Vec<String>), String> {
        let before = std::mem::replace(&mut self.lexer.raw_escapes, raw_escapes);
        let result = self.until_with(stop);
        self.lexer.raw_escapes = before;
        result
    }

    fn until_with(&mut self, stop: Option<char>) -> Result<(String, Vec<String>), String> {
        let (mut result, mut words) = (String::new(), Words::default());
        while let Some(c) = self.peek() {
            if Some(c) == stop {
                self.at += 1;
                return Ok((result, words.finish()));
            }
            match c {
                '$' => {
                    let value = self.dollar()?;
                    value.chars().for_each(|c| words.push(c));
                    result += &value;
                }
                '\'' | '"' if !self.lexer.ignore_quotes => {
                    let text = if c == '"' { self.double_quoted()? } else { self.single_quoted()? };
                    words.word += &text;
                    result += &text;
                }
                c => {
                    self.at += 1;
                    if c != self.lexer.escape {
                        words.push(c);
                        result.push(c);
                        continue;
                    }
                    if self.lexer.raw_escapes {
                        words.word.push(c);
                        result.push(c);
                    }
                    // At the end an escape escapes nothing.
                    if let Some(c) = self.next() {
                        words.word.push(c);
                        result.push(c);
                    }
                }
            }
        }
        match stop {
            None => Ok((result, words.finish())),
            Some(stop) => {
                Err(format!("unexpected end of statement while looking for matching {stop}"))
            }
        }
    }

    fn single_quoted(&mut self) -> Result<String, String> {
        let mut text = String::new();
        let raw = self.lexer.raw_quotes;
        text.extend(self.next().filter(|_| raw));
        loop {
            match self.next() {
                None => return Err(unfinished("single-quote")),
                Some('\'') => {
                    text.extend(raw.then_some('\''));
                    return Ok(text);
                }
                Some(c) => text.push(c),
            }
        }
    }

    fn double_quoted(&mut self) -> Result<String, String> {
        let mut text = String::new();
        let raw = self.lexer.raw_quotes;
        text.extend(self.next().filter(|_| raw));
        loop {
            match self.peek() {
                None => return Err(unfinished("double-quote")),
                Some('$') => text += &self.dollar()?,
                Some(c) => {
                    self.at += 1;
                    if c == '"' {
                        text.extend(raw.then_some('"'));
                        return Ok(text);
                    }
                    if c != self.lexer.escape {
                        text.push(c);
                        continue;
                    }
                    text.extend(self.lexer.raw_escapes.then_some(c));
                    match self.peek() {
                        None => {}
                        // In double quotes only these are escaped (sh(1)).
                        Some(next) if next == '"' || next == '$' || next == self.lexer.escape => {
                            text.push(next);
                            self.at += 1;
                        }
                        Some(_) => text.push(c),
                    }
                }
            }
        }
    }

    fn dollar(&mut self) -> Result<String, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!("variables are nested deeper than {MAX_DEPTH}"));
        }
        self.at += 1;
        let value = if self.peek() == Some('{') {
            self.at += 1;
            self.braced()
        } else {
            Ok(match self.name() {
                name if name.is_empty() => "$".to_owned(),
                name => match self.lexer.env.get(&name) {
                    Some(value) => value.to_owned(),
                    None if self.lexer.keep_unset => format!("${name}"),
                    None => String::new(),
                },
            })
        };
        self.depth -= 1;
        let value = value?;
        let room = self.room.checked_sub(value.len());
        self.room = room.ok_or_else(|| format!("it is longer than {MAX_GROWTH} bytes"))?;
        Ok(value)
    }

    /// After `${`.
    fn braced(&mut self) -> Result<String, String> {
        match self.peek() {
            None => return Err("syntax error: missing '}'".to_owned()),
            Some('{' | '}' | ':') => return Err("syntax error: bad substitution".to_owned()),
            Some(_) => {}
        }
        let name = self.name();
        let value = self.lexer.env.get(&name).map(str::to_owned);
        let keep = self.lexer.keep_unset && value.is_none();
        match self.next() {
            None => Err("syntax error: missing '}'".to_owned()),
            Some('}') if keep => Ok(format!("${{{name}}}")),
            Some('}') => Ok(value.unwrap_or_default()),
            Some('/') => self.replaced(&name, value, keep),
            Some(':') => {
                let modifier = self.next();
                self.modified(&name, value, keep, true, modifier)
            }
            modifier => self.modified(&name, value, keep, false, modifier),
        }
    }

    fn modified(
        &mut self,
        name: &str,
        value: Option<String>,
        keep: bool,
        empty_is_unset: bool,
        modifier: Option<char>,
    ) -> Result<String, String> {
        let colon = if empty_is_unset { ":" } else { "" };
        let Some(modifier) = modifier else { return Err("syntax error: missing '}'".to_owned()) };
        if !"+-?#%".contains(modifier) {
            return Err(format!("unsupported modifier ({colon}{modifier}) in substitution"));
        }
        let word = self.part('}', matches!(modifier, '#' | '%'), "'}'")?;
        if keep {
            return Ok(format!("${{{name}{colon}{modifier}{word}}}"));
        }
        let set = value.clone().filter(|value| !(empty_is_unset && value.is_empty()));
        match modifier {
            '-' => Ok(set.unwrap_or(word)),
            '+' => Ok(set.map(|_| word).unwrap_or_default()),
            '?' => set.ok_or_else(|| {
                let state = if value.is_some() { "empty" } else { "unset" };
                let why =
                    if word.is_empty() { format!("is not allowed to be {state}") } else { word };
                format!("{name}: {why}")
            }),
            end => {
                let (pattern, longest) = match word.strip_prefix(end) {
                    Some(pattern) => (pattern, true),
                    None => (word.as_str(), false),
                };
                let value = value.unwrap_or_default();
                if end == '#' {
                    pattern::without_prefix(&value, pattern, longest)
                } else {
                    pattern::without_suffix(&value, pattern, longest)
                }
            }
        }
    }

    /// `${name/pattern/replacement}`, or all with `//`.
    fn replaced(
        &mut self,
        name: &str,
        value: Option<String>,
        keep: bool,
    ) -> Result<String, String> {
        let all = self.peek() == Some('/');
        self.at += usize::from(all);
        let wanted = self.part('/', true, "'/' in ${}")?;
        let replacement = self.part('}', true, "'}'")?;
        if keep {
            return Ok(format!("${{{name}/{wanted}/{replacement}}}"));
        }
        pattern::replaced(&value.unwrap_or_default(), &wanted, &replacement, all)
    }

    fn part(&mut self, stop: char, raw_escapes: bool, missing: &str) -> Result<String, String> {
        match self.until(Some(stop), raw_escapes) {
            Ok((word, _)) => Ok(word),
            Err(_) if self.peek().is_none() && self.depth <= MAX_DEPTH => {
                Err(format!("syntax error: missing {missing}"))
            }
            Err(why) => Err(why),
        }
    }

    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(c) = self.peek() {
            // A parameter of the shell has one character, a position only digits.
            if name.is_empty() && "@*#?-$!".contains(c) {
                self.at += 1;
                return c.to_string();
            }
            let digits = name.starts_with(|c: char| c.is_ascii_digit());
            if !(c.is_alphanumeric() && (!digits || c.is_ascii_digit()) || c == '_' && !digits) {
                break;
            }
            name.push(c);
            self.at += 1;
        }
        name
    }
}

fn unfinished(what: &str) -> String {
    format!("unexpected end of statement while looking for matching {what}")
}

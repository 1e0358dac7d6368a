//! How a table is read, and whether what a command did is what it says.

/// One command and what is expected of it.
pub(super) struct Step<'a> {
    /// Where it is, from 1.
    pub(super) line: usize,
    pub(super) command: &'a str,
    pub(super) patient: bool,
    code: i32,
    /// All lines of standard output; none: anything.
    out: Option<Vec<&'a str>>,
    out_words: Vec<&'a str>,
    err_words: Vec<&'a str>,
}

/// The steps of a table.
///
/// # Panics
/// When a line expects something before the first command, or its exit code is no number.
pub(super) fn steps(table: &str) -> Vec<Step<'_>> {
    let mut steps: Vec<Step<'_>> = Vec::new();
    for (index, text) in table.lines().enumerate() {
        let (mark, rest) = text.split_once(' ').unwrap_or((text, ""));
        if matches!(mark, "$" | "$~") {
            steps.push(Step {
                line: index + 1,
                command: rest,
                patient: mark == "$~",
                code: 0,
                out: None,
                out_words: Vec::new(),
                err_words: Vec::new(),
            });
        } else if matches!(mark, "=" | ">" | ">~" | "!") {
            let step = steps.last_mut().expect("a command comes first");
            match mark {
                "=" => step.code = rest.parse().expect("an exit code is a number"),
                ">~" => step.out_words.push(rest),
                "!" => step.err_words.push(rest),
                // The first is nothing at all; behind others it is an empty line.
                _ if rest.is_empty() && step.out.is_none() => step.out = Some(Vec::new()),
                _ => step.out.get_or_insert_default().push(rest),
            }
        }
    }
    steps
}

impl Step<'_> {
    /// What is not as it should be, if anything.
    pub(super) fn wrong(&self, code: i32, out: &str, err: &str) -> Option<String> {
        if code != self.code {
            return Some(format!("the exit code is not {}", self.code));
        }
        let has = |text: &str, words: &str| {
            text.lines().any(|line| fits(&format!("[..]{words}[..]"), line))
        };
        let lines: Vec<&str> = out.lines().collect();
        if let Some(wanted) = &self.out
            && (lines.len() != wanted.len()
                || lines.iter().zip(wanted).any(|(line, pattern)| !fits(pattern, line)))
        {
            return Some(format!("standard output is not\n{}", wanted.join("\n")));
        }
        if let Some(words) = self.out_words.iter().find(|words| !has(out, words)) {
            return Some(format!("standard output does not say: {words}"));
        }
        let words = self.err_words.iter().find(|words| !has(err, words))?;
        Some(format!("standard error does not say: {words}"))
    }
}

/// Whether a line is what the pattern says: literal but for each `[..]`, which is any text.
fn fits(pattern: &str, line: &str) -> bool {
    let line = line.trim_end();
    let mut parts = pattern.split("[..]");
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        // The first place leaves the most for those that follow.
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

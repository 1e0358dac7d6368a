//! What the classic builder says of a build (moby's `builder/dockerfile`): clients show it, and some
//! look for its words.
//!
//! It says an image's id after each instruction. Here only the last one makes an image; the others
//! are followed by the id of their layer.

use std::collections::VecDeque;

use linkspan_docker_types::image::progress::Message;
use linkspan_proto::error::Failure;
use linkspan_proto::v1::{BuildInstruction, BuildOutput, BuildStepState, BuildWarning, BuiltImage};
use tonic::Status;

/// Of a quiet build that fails so much is shown.
const KEPT: usize = 1 << 20;

/// The words of one build.
#[derive(Default)]
pub(super) struct Words {
    /// A quiet build says nothing, unless it fails.
    quiet: bool,
    /// The image's id is told for programs, too.
    aux: bool,
    kept: VecDeque<Message>,
    kept_bytes: usize,
    /// Of the last instruction that changed files.
    id: String,
    /// An instruction is done, and its id was not said.
    is_owed: bool,
    /// The last instruction that changed files was found.
    was_found: bool,
    container: Option<String>,
    /// The beginning of a character, of standard output and of standard error.
    partial: [Vec<u8>; 2],
}

/// As Docker shortens ids.
fn short(id: &str) -> &str {
    let id = id.split_once(':').map_or(id, |(_, hex)| hex);
    id.get(..12).unwrap_or(id)
}

impl Words {
    pub(super) fn new(quiet: bool, aux: bool) -> Self {
        Self { quiet, aux, ..Self::default() }
    }

    /// Keeps what a quiet build does not say, the latest of it.
    fn keep(&mut self, line: Message) {
        self.kept_bytes += line.stream.len();
        self.kept.push_back(line);
        while self.kept_bytes > KEPT {
            let Some(first) = self.kept.pop_front() else { break };
            self.kept_bytes -= first.stream.len();
        }
    }

    /// What a quiet build has not said, for one that fails.
    pub(super) fn kept(&mut self) -> Vec<Message> {
        self.kept_bytes = 0;
        std::mem::take(&mut self.kept).into()
    }

    fn all(&mut self, lines: Vec<Message>) -> Vec<Message> {
        if !self.quiet {
            return lines;
        }
        lines.into_iter().for_each(|line| self.keep(line));
        Vec::new()
    }

    /// A line of somebody else's.
    pub(super) fn line(&mut self, line: Message) -> Vec<Message> {
        self.all(vec![line])
    }

    pub(super) fn note(&mut self, text: String) -> Option<Message> {
        self.all(vec![Message::stream(text)]).pop()
    }

    pub(super) fn warning(&mut self, warning: &BuildWarning) -> Vec<Message> {
        let BuildWarning { rule, message, .. } = warning;
        self.line(Message::stream(format!("[Warning] {rule}: {message}\n")))
    }

    pub(super) fn instruction(&mut self, told: &BuildInstruction) -> Vec<Message> {
        let mut lines = Vec::new();
        match told.state() {
            BuildStepState::Running if told.id.is_empty() => self.begin(told, &mut lines),
            BuildStepState::Running => {
                lines.push(format!(" ---> Running in {}\n", short(&told.id)));
                self.container = Some(told.id.clone());
            }
            BuildStepState::Cached => {
                self.begin(told, &mut lines);
                lines.push(" ---> Using cache\n".to_owned());
                self.done(&told.id, true);
            }
            BuildStepState::Done => {
                if let Some(container) = self.container.take() {
                    let text =
                        format!(" ---> Removed intermediate container {}\n", short(&container));
                    lines.push(text);
                }
                let is_from =
                    told.text.get(..4).is_some_and(|word| word.eq_ignore_ascii_case("from"));
                if told.id.is_empty() && !is_from {
                    // What comes after what was found was there with it.
                    if self.was_found {
                        lines.push(" ---> Using cache\n".to_owned());
                    }
                    self.is_owed = true;
                } else {
                    self.done(&told.id, false);
                }
            }
            BuildStepState::Failed | BuildStepState::Unspecified => {}
        }
        self.all(lines.into_iter().map(Message::stream).collect())
    }

    fn begin(&mut self, told: &BuildInstruction, lines: &mut Vec<String>) {
        lines.extend(self.owed());
        // The next command's output begins anew.
        self.partial = Default::default();
        let BuildInstruction { number, total, text, .. } = told;
        lines.push(format!("Step {number}/{total} : {text}\n"));
    }

    fn done(&mut self, id: &str, was_found: bool) {
        id.clone_into(&mut self.id);
        self.was_found = was_found;
        self.is_owed = true;
    }

    fn owed(&mut self) -> Option<String> {
        std::mem::take(&mut self.is_owed).then(|| format!(" ---> {}\n", short(&self.id)))
    }

    /// What a command writes. Messages are text, so a character is not taken apart.
    pub(super) fn output(&mut self, output: &BuildOutput) -> Vec<Message> {
        let partial = &mut self.partial[usize::from(output.stderr)];
        partial.extend_from_slice(&output.data);
        let whole = whole(partial);
        let bytes: Vec<u8> = partial.drain(..whole).collect();
        if bytes.is_empty() {
            return Vec::new();
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        // moby's `streamformatter`: standard error is red.
        let text = if output.stderr { format!("\u{1b}[91m{text}\u{1b}[0m") } else { text };
        self.line(Message::stream(text))
    }

    pub(super) fn built(&mut self, built: &BuiltImage) -> Vec<Message> {
        if self.quiet {
            return vec![Message::stream(format!("{}\n", built.id))];
        }
        built.id.clone_into(&mut self.id);
        let mut lines: Vec<_> = self.owed().into_iter().map(Message::stream).collect();
        lines.extend(self.aux.then(|| Message::built(&built.id)));
        lines.push(Message::stream(format!("Successfully built {}\n", short(&built.id))));
        let tagged = |tag| Message::stream(format!("Successfully tagged {tag}\n"));
        lines.extend(built.tags.iter().map(tagged));
        lines
    }
}

/// Why a build failed. Of a COPY and an ADD scripts know the classic builder's words (moby's
/// `builder/dockerfile/copy.go`).
pub(super) fn failed(status: Status) -> Status {
    let failure = Failure::from(status);
    // The Dockerfile as a terminal shows it, with the instruction marked.
    let marked = failure.evidence.iter().find_map(|line| line.split_once("| >>> "));
    let command = marked.and_then(|(_, text)| text.split_whitespace().next()).unwrap_or_default();
    let command = command.to_ascii_uppercase();
    match not_there(&failure.message) {
        Some(words) if ["COPY", "ADD"].contains(&command.as_str()) => {
            Failure { message: format!("{command} failed: {words}"), ..failure }.into()
        }
        _ => failure.into(),
    }
}

/// The machine says which path is not there, and in what.
fn not_there(message: &str) -> Option<String> {
    let (path, place) = message.strip_prefix('`')?.rsplit_once("`: not found in ")?;
    let relative = path.trim_start_matches("./").trim_start_matches('/');
    let missing = format!("stat {relative}: file does not exist");
    Some(match place.starts_with("the build context") {
        true => format!("file not found in build context or excluded by .dockerignore: {missing}"),
        false => missing,
    })
}

/// How many bytes are whole characters, or none at all.
fn whole(bytes: &[u8]) -> usize {
    // A character has at most four bytes, the first of which says how many follow.
    let tail = bytes.len().saturating_sub(3);
    let first = bytes[tail..].iter().rposition(|byte| *byte >= 0xc0).map(|at| tail + at);
    match first.map(|at| (at, std::str::from_utf8(&bytes[at..]))) {
        Some((at, Err(error))) if error.error_len().is_none() => at,
        _ => bytes.len(),
    }
}

#[cfg(test)]
mod tests {
    use linkspan_proto::error::ErrorCode;
    use proptest::prelude::*;

    use super::*;

    fn told(number: u32, text: &str, state: BuildStepState, id: &str) -> BuildInstruction {
        let (text, id) = (text.to_owned(), id.to_owned());
        BuildInstruction { number, total: 4, text, state: state.into(), id }
    }

    fn text(lines: Vec<Message>) -> String {
        lines.into_iter().map(|line| line.stream).collect()
    }

    fn build(words: &mut Words) -> String {
        use BuildStepState::{Cached, Done, Running};
        let all = [
            told(1, "FROM busybox", Running, ""),
            told(1, "FROM busybox", Done, "sha256:0123456789abcdef"),
            told(2, "COPY f /f", Cached, "sha256:1111111111111111"),
            told(3, "ENV A=b", Running, ""),
            told(3, "ENV A=b", Done, ""),
            told(4, "RUN true", Running, ""),
            told(4, "RUN true", Running, "cccccccccccccccc"),
            told(4, "RUN true", Done, "sha256:2222222222222222"),
        ];
        let lines = all.iter().map(|told| text(words.instruction(told))).collect::<String>();
        let (id, tags) = ("sha256:3333333333333333".into(), vec!["a:latest".into()]);
        lines + &text(words.built(&BuiltImage { id, tags, ..BuiltImage::default() }))
    }

    #[test]
    fn a_build_reads_as_the_classic_builders() {
        assert_eq!(
            build(&mut Words::new(false, true)),
            "Step 1/4 : FROM busybox\n ---> 0123456789ab\n\
             Step 2/4 : COPY f /f\n ---> Using cache\n ---> 111111111111\n\
             Step 3/4 : ENV A=b\n ---> Using cache\n ---> 111111111111\n\
             Step 4/4 : RUN true\n ---> Running in cccccccccccc\n \
             ---> Removed intermediate container cccccccccccc\n ---> 333333333333\n\
             Successfully built 333333333333\nSuccessfully tagged a:latest\n"
        );
    }

    #[test]
    fn a_quiet_build_says_its_image_and_all_when_it_fails() {
        let mut words = Words::new(true, true);
        assert_eq!(build(&mut words), "sha256:3333333333333333\n");
        assert!(text(words.kept()).starts_with("Step 1/4 : FROM busybox\n"));
        let line = "x".repeat(KEPT / 4);
        for _ in 0..9 {
            let _ = words.line(Message::stream(line.clone()));
        }
        assert_eq!(words.kept().len(), 4);
    }

    #[test]
    fn errors_are_red() {
        let data = b"bad\n".as_slice().into();
        let output = BuildOutput { stderr: true, data, ..BuildOutput::default() };
        assert_eq!(text(Words::new(false, true).output(&output)), "\u{1b}[91mbad\n\u{1b}[0m");
    }

    #[test]
    fn what_cannot_be_copied_is_told_in_the_words_that_scripts_know() {
        let said = |instruction: &str, message: &str| {
            let lines =
                ["Dockerfile:2", "   1 |     COPY x /x", &format!("   2 | >>> {instruction}")];
            let failure = Failure::new(ErrorCode::NotFound, message);
            let failure = failure.evidence(lines.map(str::to_owned).into());
            Failure::from(failed(failure.into())).message
        };
        let of_context = "`/a/b`: not found in the build context";
        for (instruction, message, wanted) in [
            (
                "COPY a/b /x",
                of_context,
                "COPY failed: file not found in build context or excluded by .dockerignore: stat a/b: file does not exist",
            ),
            (
                "add ./a /x",
                "`./a`: not found in the build context, because .dockerignore leaves it out",
                "ADD failed: file not found in build context or excluded by .dockerignore: stat a: file does not exist",
            ),
            (
                "COPY --from=make /a /x",
                "`/a`: not found in stage make",
                "COPY failed: stat a: file does not exist",
            ),
            ("COPY a /x", "the disk is full", "the disk is full"),
            ("RUN --mount=type=bind,source=a/b true", of_context, of_context),
        ] {
            assert_eq!(said(instruction, message), wanted);
        }
    }

    proptest! {
        #[test]
        fn output_is_the_same_text_wherever_it_is_cut(shown in "\\PC{0,20}", cut in 0..60_usize) {
            let bytes = shown.as_bytes();
            let cut = cut.min(bytes.len());
            let mut words = Words::new(false, true);
            let mut all = String::new();
            for part in [&bytes[..cut], &bytes[cut..]] {
                let data = part.to_vec().into();
                all += &text(words.output(&BuildOutput { data, ..BuildOutput::default() }));
            }
            prop_assert_eq!(all, shown);
        }

        #[test]
        fn what_is_no_text_goes_on(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut words = Words::new(false, true);
            let output = BuildOutput { data: bytes.clone().into(), ..BuildOutput::default() };
            let _ = words.output(&output);
            prop_assert!(words.partial[0].len() < 4);
        }
    }
}

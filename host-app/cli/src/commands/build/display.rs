//! Shows how a build goes, on standard error: BuildKit's plain lines, or lines that change.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle as BarStyle};
use linkspan_proto::v1::{BuildOutput, BuildStep, BuildStepState, BuildWarning, BuiltImage};

use super::ProgressStyle;

/// The display of one build.
pub(super) struct Display {
    style: Style,
    steps: BTreeMap<u32, Step>,
}

enum Style {
    Quiet,
    Lines,
    Bars(MultiProgress),
}

#[derive(Default)]
struct Step {
    title: String,
    /// The beginning of a line whose end has not come.
    partial: BTreeMap<bool, Vec<u8>>,
    bar: Option<ProgressBar>,
}

const RUNNING: &str = "=> {prefix} {elapsed:>4}\n   {msg:.dim}";

#[allow(clippy::cast_precision_loss, reason = "a few seconds, shown with one digit")]
fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

impl Display {
    pub(super) fn new(style: ProgressStyle) -> Self {
        let style = match style {
            ProgressStyle::Quiet => Style::Quiet,
            ProgressStyle::Plain => Style::Lines,
            ProgressStyle::Tty => Style::Bars(MultiProgress::new()),
            ProgressStyle::Auto if std::io::stderr().is_terminal() => {
                Style::Bars(MultiProgress::new())
            }
            ProgressStyle::Auto => Style::Lines,
        };
        Self { style, steps: BTreeMap::new() }
    }

    pub(super) fn is_quiet(&self) -> bool {
        matches!(self.style, Style::Quiet)
    }

    /// Somebody else shows something.
    pub(super) fn pause(&self) {
        if let Style::Bars(all) = &self.style {
            let _ = all.clear();
        }
    }

    pub(super) fn step(&mut self, step: &BuildStep) {
        let is_new = !self.steps.contains_key(&step.number);
        let known = self.steps.entry(step.number).or_default();
        known.title.clone_from(&step.title);
        let took = seconds(step.duration_us);
        match &self.style {
            Style::Quiet => {}
            Style::Lines => {
                let number = step.number;
                if is_new {
                    say!("#{number} {}", step.title);
                }
                match step.state() {
                    BuildStepState::Cached => say!("#{number} CACHED\n"),
                    BuildStepState::Done => {
                        known.flush(number, took);
                        say!("#{number} DONE {took:.1}s\n");
                    }
                    BuildStepState::Failed => {
                        known.flush(number, took);
                        say!("#{number} ERROR\n");
                    }
                    BuildStepState::Running | BuildStepState::Unspecified => {}
                }
            }
            Style::Bars(all) => known.show(all, step.state(), took),
        }
    }

    pub(super) fn output(&mut self, output: &BuildOutput) {
        let Some(step) = self.steps.get_mut(&output.number) else { return };
        let at = seconds(output.elapsed_us);
        let partial = step.partial.entry(output.stderr).or_default();
        partial.extend_from_slice(&output.data);
        while let Some(end) = partial.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = partial.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\n', '\r']);
            match &self.style {
                Style::Quiet => {}
                Style::Lines => say!("#{} {at:.3} {line}", output.number),
                Style::Bars(_) => {
                    if let Some(bar) = &step.bar {
                        bar.set_message(line.to_owned());
                    }
                }
            }
        }
    }

    pub(super) fn warning(&self, warning: &BuildWarning, file: &str) {
        let BuildWarning { rule, message, first_line, .. } = warning;
        let place = match first_line {
            0 => String::new(),
            line => format!(" ({file}:{line})"),
        };
        self.line(&format!("WARN: {rule}: {message}{place}"));
    }

    pub(super) fn built(&self, image: &BuiltImage) {
        if image.id.is_empty() {
            return;
        }
        self.line(&format!("built {}", image.id));
        for tag in &image.tags {
            self.line(&format!("named {tag}"));
        }
    }

    pub(super) fn line(&self, line: &str) {
        match &self.style {
            Style::Quiet => {}
            Style::Lines => say!("{line}"),
            Style::Bars(all) => {
                // A terminal that has gone needs no progress.
                let _ = all.println(line);
            }
        }
    }

    /// The build has ended.
    pub(super) fn end(&mut self, _good: bool) {
        for step in self.steps.values_mut() {
            if let Some(bar) = step.bar.take() {
                bar.finish_and_clear();
            }
        }
    }
}

impl Step {
    /// What has no line end is shown at the end.
    fn flush(&mut self, number: u32, at: f64) {
        for bytes in std::mem::take(&mut self.partial).into_values() {
            if !bytes.is_empty() {
                say!("#{number} {at:.3} {}", String::from_utf8_lossy(&bytes).trim_end());
            }
        }
    }

    fn show(&mut self, all: &MultiProgress, state: BuildStepState, took: f64) {
        let line = match state {
            BuildStepState::Running | BuildStepState::Unspecified => {
                let bar = all.add(ProgressBar::new_spinner());
                // The template is a constant: it is tested below.
                if let Ok(style) = BarStyle::with_template(RUNNING) {
                    bar.set_style(style);
                }
                bar.set_prefix(self.title.clone());
                bar.enable_steady_tick(Duration::from_millis(100));
                self.bar = Some(bar);
                return;
            }
            BuildStepState::Cached => format!("=> CACHED {}", self.title),
            BuildStepState::Done => format!("=> {} {took:.1}s", self.title),
            BuildStepState::Failed => format!("=> ERROR {} {took:.1}s", self.title),
        };
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        let _ = all.println(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_a_step_can_be_drawn() {
        assert!(BarStyle::with_template(RUNNING).is_ok());
    }
}

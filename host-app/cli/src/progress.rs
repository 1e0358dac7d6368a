//! Shows a machine's boot, phase by phase: a line with a running clock for each phase on a
//! terminal, a plain line for each finished phase otherwise. Always on standard error.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use linkspan_proto::host::v1::{Machine, PhaseState, PhaseStatus};

use crate::render::human;

/// The display of one boot.
pub(crate) struct BootDisplay {
    began: Instant,
    said: HashMap<String, PhaseState>,
    style: Style,
}

enum Style {
    Lines,
    Bars { all: MultiProgress, bars: HashMap<String, ProgressBar> },
}

impl BootDisplay {
    /// Begins, with the machine's name.
    pub(crate) fn new(machine: &str) -> Self {
        let style = if std::io::stderr().is_terminal() {
            Style::Bars { all: MultiProgress::new(), bars: HashMap::new() }
        } else {
            Style::Lines
        };
        let display = Self { began: Instant::now(), said: HashMap::new(), style };
        display.say(&format!("starting the machine `{machine}`"));
        display
    }

    /// Takes in what the machine says of itself now.
    pub(crate) fn update(&mut self, machine: &Machine) {
        for phase in &machine.phases {
            let before = self.said.insert(phase.name.clone(), phase.state());
            if before == Some(phase.state()) {
                continue;
            }
            match phase.state() {
                PhaseState::Running => self.begin(phase),
                PhaseState::Done | PhaseState::Failed => self.end(phase),
                PhaseState::Pending | PhaseState::Unspecified => {}
            }
        }
    }

    /// A remark, such as the choice of a slow accelerator.
    pub(crate) fn notice(&self, notice: &str) {
        self.say(&format!("note: {notice}"));
    }

    /// The machine runs.
    pub(crate) fn ready(self, machine: &str) {
        self.clear();
        let took = human::micros(u64::try_from(self.began.elapsed().as_micros()).unwrap_or(0));
        say!("the machine `{machine}` is ready after {took}");
    }

    /// It does not; the error is shown by the caller.
    pub(crate) fn failed(self) {
        self.clear();
    }

    fn begin(&mut self, phase: &PhaseStatus) {
        if let Style::Bars { all, bars } = &mut self.style {
            let bar = all.add(ProgressBar::new_spinner());
            // The template is a constant: it is tested below.
            if let Ok(style) = ProgressStyle::with_template(RUNNING) {
                bar.set_style(style);
            }
            bar.set_prefix(phase.name.clone());
            bar.set_message(format!("at most {}", human::micros(phase.budget_us)));
            bar.enable_steady_tick(Duration::from_millis(80));
            bars.insert(phase.name.clone(), bar);
        }
    }

    fn end(&mut self, phase: &PhaseStatus) {
        let line = phase_line(phase);
        match &mut self.style {
            Style::Lines => say!("{line}"),
            Style::Bars { all, bars } => {
                if let Some(bar) = bars.remove(&phase.name) {
                    bar.finish_and_clear();
                }
                // A terminal that has gone needs no progress.
                let _ = all.println(line);
            }
        }
    }

    fn clear(&self) {
        if let Style::Bars { all, .. } = &self.style {
            let _ = all.clear();
        }
    }

    fn say(&self, line: &str) {
        match &self.style {
            Style::Lines => say!("{line}"),
            Style::Bars { all, .. } => {
                let _ = all.println(line);
            }
        }
    }
}

const RUNNING: &str = "  {spinner} {prefix:<9} {elapsed_precise:.dim} {msg:.dim}";

fn phase_line(phase: &PhaseStatus) -> String {
    let mark = if phase.state() == PhaseState::Failed { "failed" } else { "ok" };
    let late = match phase.budget_us {
        0 => String::new(),
        budget if phase.duration_us > budget => {
            format!(" (over its budget of {})", human::micros(budget))
        }
        _ => String::new(),
    };
    format!("  {mark:<6} {:<9} {}{late}", phase.name, human::micros(phase.duration_us))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_that_overran_its_budget_is_said_so() {
        let phase = PhaseStatus {
            name: "kernel".into(),
            state: PhaseState::Done.into(),
            duration_us: 840_000,
            budget_us: 5_000_000,
        };
        assert_eq!(phase_line(&phase), "  ok     kernel    840.0 ms");
        let late = PhaseStatus { budget_us: 500_000, ..phase };
        assert_eq!(phase_line(&late), "  ok     kernel    840.0 ms (over its budget of 500.0 ms)");
        assert!(ProgressStyle::with_template(RUNNING).is_ok());
    }
}

//! Shows the layers of an image on their way from or to a registry: a line that changes for each
//! on a terminal, else a plain line for each new status, as Docker does.

use std::collections::HashMap;
use std::io::IsTerminal as _;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use linkspan_proto::v1::TransferProgress;

use crate::error::Error;
use crate::render;

/// Where progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Where {
    /// It is what the command prints.
    Output,
    /// Standard output belongs to something else.
    Stderr,
    /// Not at all.
    Nowhere,
}

/// The display of one transfer.
pub(crate) struct Transfer {
    place: Where,
    bars: Option<Bars>,
    said: HashMap<String, String>,
}

#[derive(Default)]
struct Bars {
    all: MultiProgress,
    layers: HashMap<String, ProgressBar>,
}

/// A layer whose bytes are counted, and one whose are not.
const COUNTED: &str = "{prefix}: {msg} [{bar:40.=>}] {decimal_bytes}/{decimal_total_bytes}";
const PLAIN: &str = "{prefix}: {msg}";

impl Transfer {
    pub(crate) fn new(place: Where) -> Self {
        let target = match place {
            Where::Output if std::io::stdout().is_terminal() => Some(ProgressDrawTarget::stdout()),
            Where::Stderr if std::io::stderr().is_terminal() => Some(ProgressDrawTarget::stderr()),
            _ => None,
        };
        let bars = target.map(|target| Bars {
            all: MultiProgress::with_draw_target(target),
            layers: HashMap::new(),
        });
        Self { place, bars, said: HashMap::new() }
    }

    /// A step of a layer, or a line about the whole.
    ///
    /// # Errors
    /// When nobody reads the output any more.
    pub(crate) fn step(&mut self, step: &TransferProgress) -> Result<(), Error> {
        if step.id.is_empty() {
            return self.line(&step.status);
        }
        if let Some(bars) = &mut self.bars {
            bars.step(step);
            return Ok(());
        }
        // Without a terminal, bytes are not counted aloud.
        let counted = step.current > 0 || step.total > 0;
        if counted || self.said.get(&step.id) == Some(&step.status) {
            return Ok(());
        }
        self.said.insert(step.id.clone(), step.status.clone());
        self.line(&format!("{}: {}", step.id, step.status))
    }

    /// A line of its own.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub(crate) fn line(&mut self, line: &str) -> Result<(), Error> {
        // The layers stay above what is said after them.
        if let Some(bars) = &mut self.bars {
            bars.settle();
        }
        match self.place {
            Where::Output => render::line(line),
            Where::Stderr => {
                say!("{line}");
                Ok(())
            }
            Where::Nowhere => Ok(()),
        }
    }
}

impl Bars {
    fn step(&mut self, step: &TransferProgress) {
        let bar = self.layers.entry(step.id.clone()).or_insert_with(|| {
            let bar = self.all.add(ProgressBar::new(0));
            bar.set_prefix(step.id.clone());
            bar
        });
        let counted = step.total > 0;
        // The templates are constants: they are tested below.
        if let Ok(style) = ProgressStyle::with_template(if counted { COUNTED } else { PLAIN }) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(step.status.clone());
        bar.set_length(step.total);
        bar.set_position(step.current);
        bar.tick();
    }

    fn settle(&mut self) {
        for (_, bar) in self.layers.drain() {
            bar.abandon();
        }
    }
}

impl Drop for Transfer {
    /// What was reached stays to be seen, also when the transfer failed.
    fn drop(&mut self) {
        if let Some(bars) = &mut self.bars {
            bars.settle();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_a_layer_can_be_drawn() {
        for template in [COUNTED, PLAIN] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}

//! `LINKSPAN_PHASE_BUDGETS`: other budgets for a machine's phases, for slow hosts and for tests.
//!
//! `kernel=60,ready=20,slow=1`: seconds by phase; `slow` is the factor by which guest phases may
//! take longer under a slow accelerator.

use std::time::Duration;

use anyhow::{Context as _, bail};
use linkspan_machine::Budgets;

/// The variable's name.
const VARIABLE: &str = "LINKSPAN_PHASE_BUDGETS";

/// The default budgets, changed by the variable where it is set.
///
/// # Errors
/// Names the word that is wrong.
pub(crate) fn from_environment() -> anyhow::Result<Budgets> {
    match std::env::var(VARIABLE) {
        Ok(text) => parse(&text).with_context(|| format!("{VARIABLE} is not valid")),
        Err(_) => Ok(Budgets::default()),
    }
}

fn parse(text: &str) -> anyhow::Result<Budgets> {
    let mut budgets = Budgets::default();
    for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        let (name, value) = word
            .split_once('=')
            .with_context(|| format!("`{word}` is not of the form PHASE=SECONDS"))?;
        let number: u32 = value
            .parse()
            .ok()
            .filter(|&number| number > 0)
            .with_context(|| format!("`{value}` in `{word}` is not a whole number above 0"))?;
        let seconds = Duration::from_secs(number.into());
        match name {
            "image" => budgets.image = seconds,
            "kernel" => budgets.kernel = seconds,
            "agent" => budgets.agent = seconds,
            "disk" => budgets.disk = seconds,
            "network" => budgets.network = seconds,
            "shares" => budgets.shares = seconds,
            "ready" => budgets.ready = seconds,
            "slow" => budgets.slow_factor = number,
            _ => bail!("`{name}` is not a phase"),
        }
    }
    Ok(budgets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_changes_and_the_rest_stays() {
        let budgets = parse("kernel=60, slow=1").expect("it is valid");
        assert_eq!(budgets.kernel, Duration::from_secs(60));
        assert_eq!(budgets.slow_factor, 1);
        assert_eq!(budgets.disk, Budgets::default().disk);
    }

    #[test]
    fn nonsense_is_named() {
        for text in ["kernel", "kernel=soon", "kernel=0", "engine=3"] {
            let error = format!("{:#}", parse(text).expect_err(text));
            assert!(error.contains(text.split('=').next().expect("a word")), "{error}");
        }
    }
}

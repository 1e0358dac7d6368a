//! HEALTHCHECK (Dockerfile reference; rules of buildkit's `instructions/parse.go`).

use std::time::Duration;

use crate::config::Healthcheck;

use super::json_list;

/// Shorter spans are refused, as buildkit does.
const SHORTEST: Duration = Duration::from_millis(1);

/// `NONE`, or options and `CMD` with a command.
pub(super) fn parse(text: &str) -> Result<Healthcheck, String> {
    let mut check = Healthcheck::default();
    let mut rest = text;
    while let Some(option) = rest.strip_prefix("--") {
        let (option, after) = option.split_once(char::is_whitespace).unwrap_or((option, ""));
        set(&mut check, option)?;
        rest = after.trim_start();
    }
    let (kind, command) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let command = command.trim();
    check.test = match kind.to_ascii_uppercase().as_str() {
        "NONE" if text != rest || !command.is_empty() => {
            return Err("HEALTHCHECK NONE takes nothing more".to_owned());
        }
        "NONE" => vec!["NONE".to_owned()],
        "CMD" => match json_list(command) {
            _ if command.is_empty() => return Err("HEALTHCHECK CMD needs a command".to_owned()),
            Some(words) => ["CMD".to_owned()].into_iter().chain(words).collect(),
            None => vec!["CMD-SHELL".to_owned(), command.to_owned()],
        },
        _ => return Err("HEALTHCHECK needs NONE or CMD".to_owned()),
    };
    Ok(check)
}

fn set(check: &mut Healthcheck, option: &str) -> Result<(), String> {
    let (name, value) = option.split_once('=').unwrap_or((option, ""));
    let span = || {
        let span = value.parse::<jiff::SignedDuration>().ok();
        let span = span.and_then(|span| Duration::try_from(span).ok());
        match span.ok_or_else(|| format!("`{value}` is not a span such as 30s or 1m30s"))? {
            span if !span.is_zero() && span < SHORTEST => {
                Err(format!("--{name} cannot be less than 1ms"))
            }
            span => Ok(span),
        }
    };
    match name {
        "interval" => check.interval = span()?,
        "timeout" => check.timeout = span()?,
        "start-period" => check.start_period = span()?,
        "start-interval" => check.start_interval = span()?,
        "retries" => {
            check.retries =
                value.parse().map_err(|_| format!("`{value}` is not a number of retries"))?;
        }
        other => return Err(format!("HEALTHCHECK has no option `--{other}`")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_and_both_forms_of_the_command() {
        let check = parse("--interval=1m30s --timeout=500ms --retries=2 CMD curl -f x || exit 1");
        let check = check.unwrap();
        assert_eq!(check.test, ["CMD-SHELL", "curl -f x || exit 1"]);
        assert_eq!(check.interval, Duration::from_secs(90));
        assert_eq!((check.timeout, check.retries), (Duration::from_millis(500), 2));
        assert_eq!(parse(r#"cmd ["a", "b c"]"#).unwrap().test, ["CMD", "a", "b c"]);
        assert_eq!(parse("NONE").unwrap().test, ["NONE"]);
    }
}

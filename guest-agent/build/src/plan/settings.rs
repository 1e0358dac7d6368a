//! The instructions that change nothing but the configuration.

use super::ports;
use super::stage::{Scope, State, with_shell};
use crate::config::{Empty, Healthcheck};
use crate::error::Problem;
use crate::expand::Lexer;
use crate::format;
use crate::syntax::{ArgDefinition, CommandLine, Health, Pair};

/// A program cannot be started with a longer one (`MAX_ARG_STRLEN`, execve(2)).
fn check_length(name: &str, value: &str) -> Result<(), Problem> {
    const MAX: usize = 128 << 10;
    // The equals sign and the zero byte count too.
    if name.len() + value.len() + 2 > MAX {
        return Err(Problem::VariableTooLong { name: name.to_owned(), limit: MAX });
    }
    Ok(())
}

impl Scope<'_> {
    pub(super) fn env(&self, pairs: &[Pair], state: &mut State) -> Result<(), Problem> {
        // All of an instruction see the values of before it.
        let mut line = "ENV".to_owned();
        for (name, value) in self.expand_pairs(pairs, state)? {
            line += &format!(" {name}={value}");
            check_length(&name, &value)?;
            state.env.set(&name, &value);
            state.image.config.set_env(&name, &value);
        }
        self.remember(state, line, false);
        Ok(())
    }

    pub(super) fn label(&self, pairs: &[Pair], state: &mut State) -> Result<(), Problem> {
        let mut line = "LABEL".to_owned();
        for (name, value) in self.expand_pairs(pairs, state)? {
            line += &format!(" {name}={value}");
            state.image.config.labels.insert(name, value);
        }
        self.remember(state, line, false);
        Ok(())
    }

    fn expand_pairs(
        &self,
        pairs: &[Pair],
        state: &State,
    ) -> Result<Vec<(String, String)>, Problem> {
        let expanded =
            |pair: &Pair| Ok((self.expand(&pair.name, state)?, self.expand(&pair.value, state)?));
        pairs.iter().map(expanded).collect()
    }

    pub(super) fn arg(
        &self,
        definitions: &[ArgDefinition],
        state: &mut State,
    ) -> Result<(), Problem> {
        let mut line = "ARG".to_owned();
        for ArgDefinition { name, default } in definitions {
            // What the user gives, before the default here, before what was said before FROM.
            let value = match (self.options.build_args.get(name), default) {
                (Some(value), _) => Some(value.clone()),
                (None, Some(text)) => Some(self.expand(text, state)?),
                (None, None) => self.globals.env.get(name).map(str::to_owned),
            };
            line += &format!(" {name}");
            if let Some(value) = &value {
                line += &format!("={value}");
                check_length(name, value)?;
                state.env.set(name, value);
            }
            state.arguments.push((name.clone(), value));
        }
        self.remember(state, line, false);
        Ok(())
    }

    pub(super) fn cmd(&self, line: &CommandLine, state: &mut State) {
        let words = with_shell(line, state);
        self.remember(state, format!("CMD {}", format::quoted_list(&words)), false);
        state.image.config.cmd = Some(words);
        state.cmd_set = true;
    }

    pub(super) fn entrypoint(&self, line: &CommandLine, state: &mut State) {
        let words = with_shell(line, state);
        self.remember(state, format!("ENTRYPOINT {}", format::quoted_list(&words)), false);
        state.image.config.entrypoint = Some(words);
        // The base's command is no arguments for this program.
        if !state.cmd_set {
            state.image.config.cmd = None;
        }
    }

    pub(super) fn health(&self, health: &Health, state: &mut State) {
        let line = format!(
            "HEALTHCHECK {{Test:[{}] Interval:{} Timeout:{} StartPeriod:{} StartInterval:{} \
             Retries:{}}}",
            health.test.join(" "),
            format::duration(health.interval),
            format::duration(health.timeout),
            format::duration(health.start_period),
            format::duration(health.start_interval),
            health.retries,
        );
        self.remember(state, line, false);
        state.image.config.healthcheck = Some(Healthcheck {
            test: health.test.clone(),
            interval: health.interval,
            timeout: health.timeout,
            start_period: health.start_period,
            start_interval: health.start_interval,
            retries: health.retries,
        });
    }

    pub(super) fn expose(&self, words: &[String], state: &mut State) -> Result<(), Problem> {
        let mut all = Vec::new();
        for text in words {
            let expanded = Lexer::new(self.escape, &state.env).words(text);
            let problem = |why| Problem::Expansion { text: text.clone(), why };
            for word in expanded.map_err(problem)? {
                all.extend(ports::parse(&word)?);
            }
        }
        self.remember(state, format!("EXPOSE [{}]", all.join(" ")), false);
        let exposed = &mut state.image.config.exposed_ports;
        exposed.extend(all.into_iter().map(|port| (port, Empty {})));
        Ok(())
    }

    pub(super) fn volume(&self, volumes: &[String], state: &mut State) -> Result<(), Problem> {
        let mut all = Vec::new();
        for volume in volumes {
            let volume = self.expand(volume, state)?;
            if volume.trim().is_empty() {
                return Err(Problem::EmptyVolume);
            }
            all.push(volume);
        }
        self.remember(state, format!("VOLUME [{}]", all.join(" ")), false);
        let volumes = &mut state.image.config.volumes;
        volumes.extend(all.into_iter().map(|volume| (volume, Empty {})));
        Ok(())
    }
}

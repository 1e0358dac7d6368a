//! Dockerfile instructions that change a configuration (Dockerfile reference; the parsing of words
//! is that of buildkit's `dockerfile/shell/lex.go` and `parser/line_parsers.go`).

mod health;
mod words;

use crate::config::{Empty, Section};
use crate::error::{Error, Result};

use words::{expand, pairs, split};

const KNOWN: &str = "CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER, \
                     VOLUME, WORKDIR";
/// Ports of one instruction: a range of all of them is a mistake.
const MAX_PORTS: usize = 65_535;

/// Applies instructions to an empty configuration.
pub(crate) fn apply(changes: &[String]) -> Result<Section> {
    apply_to(Section::default(), changes)
}

/// Applies instructions to a configuration.
pub(crate) fn apply_to(mut section: Section, changes: &[String]) -> Result<Section> {
    for line in changes.iter().flat_map(|change| change.lines()) {
        let line = line.trim();
        // As in a Dockerfile.
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        apply_line(&mut section, line)
            .map_err(|why| Error::InvalidChange { line: line.to_owned(), why })?;
    }
    Ok(section)
}

fn apply_line(section: &mut Section, line: &str) -> Result<(), String> {
    let (instruction, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let (instruction, rest) = (instruction.to_ascii_uppercase(), rest.trim());
    let env = section.env.clone();
    let expand = |text: &str| expand(text, &env);
    let one = |what: &str| match rest {
        "" => Err(format!("{what} needs a value")),
        rest => expand(rest),
    };
    match instruction.as_str() {
        "CMD" => section.cmd = command(rest, &section.shell)?,
        "ENTRYPOINT" => section.entrypoint = command(rest, &section.shell)?,
        "HEALTHCHECK" => section.healthcheck = Some((&health::parse(rest)?).into()),
        "ONBUILD" => section.on_build.push(trigger(rest)?),
        "ENV" => {
            for (key, value) in pairs(rest, &env)? {
                set_env(&mut section.env, &key, &value);
            }
        }
        "LABEL" => section.labels.extend(pairs(rest, &env)?),
        "EXPOSE" => {
            for word in words_of(rest, "EXPOSE")? {
                for port in ports(&expand(&word)?)? {
                    section.exposed_ports.insert(port, Empty {});
                }
            }
        }
        "VOLUME" => {
            let volumes = match json_list(rest) {
                Some(list) => list,
                None => words_of(rest, "VOLUME")?,
            };
            for volume in volumes {
                let volume = expand(&volume)?;
                if volume.trim().is_empty() {
                    return Err("a volume needs a path".to_owned());
                }
                section.volumes.insert(volume, Empty {});
            }
        }
        "USER" => section.user = one("USER")?,
        "STOPSIGNAL" => {
            let signal = one("STOPSIGNAL")?;
            check_signal(&signal)?;
            section.stop_signal = signal;
        }
        "WORKDIR" => section.working_dir = absolute_path(&section.working_dir, &one("WORKDIR")?),
        other => return Err(format!("`{other}` is not one of {KNOWN}")),
    }
    Ok(())
}

/// An instruction for whoever builds on the image.
pub(crate) fn trigger(rest: &str) -> Result<String, String> {
    let instruction = rest.split_whitespace().next().ok_or("ONBUILD needs an instruction")?;
    match instruction.to_ascii_uppercase().as_str() {
        other @ ("ONBUILD" | "FROM" | "MAINTAINER") => {
            Err(format!("{other} is not allowed as an ONBUILD trigger"))
        }
        _ => Ok(rest.to_owned()),
    }
}

/// The JSON form as it is; anything else goes to the shell: the image's, where it has one.
fn command(rest: &str, shell: &[String]) -> Result<Vec<String>, String> {
    if let Some(list) = json_list(rest) {
        return Ok(list);
    }
    if rest.is_empty() {
        return Err("it needs a command".to_owned());
    }
    let default = ["/bin/sh".to_owned(), "-c".to_owned()];
    let shell = if shell.is_empty() { &default } else { shell };
    Ok(shell.iter().cloned().chain([rest.to_owned()]).collect())
}

/// A JSON list of strings. What looks like one and is none is words, as Docker has it.
fn json_list(text: &str) -> Option<Vec<String>> {
    text.starts_with('[').then(|| serde_json::from_str(text).ok()).flatten()
}

fn words_of(text: &str, what: &str) -> Result<Vec<String>, String> {
    let words = split(text);
    if words.is_empty() { Err(format!("{what} needs a value")) } else { Ok(words) }
}

pub(crate) fn set_env(env: &mut Vec<String>, key: &str, value: &str) {
    let entry = format!("{key}={value}");
    let same = |other: &&mut String| other.split_once('=').is_some_and(|(k, _)| k == key);
    match env.iter_mut().find(same) {
        Some(other) => *other = entry,
        None => env.push(entry),
    }
}

/// `80`, `80/udp`, `8000-8010/tcp` -> `80/tcp`, ...
pub(crate) fn ports(text: &str) -> Result<Vec<String>, String> {
    let malformed =
        || format!("`{text}` is not a port, a range of ports, or one of these with a protocol");
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(format!("`{protocol}` is not one of tcp, udp, sctp"));
    }
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(malformed);
    let (first, last) = (port(first)?, port(last)?);
    if first > last || usize::from(last - first) >= MAX_PORTS {
        return Err(malformed());
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

/// The path from `/` on, a relative one within `folder`; never above `/`. As Docker resolves
/// `WORKDIR`: by its words alone, no link is followed.
#[must_use]
pub fn absolute_path(folder: &str, path: &str) -> String {
    let whole = if path.starts_with('/') { path.to_owned() } else { format!("{folder}/{path}") };
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

pub(crate) fn check_signal(signal: &str) -> Result<(), String> {
    const NAMES: &[&str] = &[
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "IOT", "BUS", "FPE", "KILL", "USR1", "SEGV",
        "USR2", "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CLD", "CONT", "STOP", "TSTP", "TTIN",
        "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "POLL", "PWR", "SYS",
        "RTMIN", "RTMAX",
    ];
    let name = signal.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let real_time = |prefix: &str, sign: char| {
        let offset = name.strip_prefix(prefix).and_then(|rest| rest.strip_prefix(sign));
        offset.and_then(|offset| offset.parse::<u8>().ok()).is_some_and(|n| (1..=30).contains(&n))
    };
    let number = name.parse::<u8>().is_ok_and(|number| (1..=64).contains(&number));
    if number || NAMES.contains(&name) || real_time("RTMIN", '+') || real_time("RTMAX", '-') {
        return Ok(());
    }
    Err(format!("`{signal}` is not a signal"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(changes: &[&str]) -> Section {
        let changes: Vec<String> = changes.iter().map(|&change| change.to_owned()).collect();
        apply(&changes).unwrap()
    }

    #[test]
    fn commands_have_a_json_and_a_shell_form() {
        let section = applied(&[r#"CMD ["a", "b c"]"#, "ENTRYPOINT echo $HOME"]);
        assert_eq!(section.cmd, ["a", "b c"]);
        assert_eq!(section.entrypoint, ["/bin/sh", "-c", "echo $HOME"]);
        assert_eq!(applied(&["cmd []"]).cmd, Vec::<String>::new());
        assert_eq!(applied(&["CMD [ -f x ]"]).cmd[2], "[ -f x ]", "broken JSON is a shell command");
    }

    #[test]
    fn environment_and_labels_have_pairs_quotes_and_variables() {
        let section = applied(&[
            r#"ENV A=1 B="two words" C='$A' D=$A-${B} E=a\ b"#,
            "ENV F the rest of the line",
            "ENV A=2\nENV G=${NONE:-default} H=${A:+set}",
            r#"LABEL a.b="x y" c=$A"#,
        ]);
        assert_eq!(
            section.env,
            [
                "A=2",
                "B=two words",
                "C=$A",
                "D=-",
                "E=a b",
                "F=the rest of the line",
                "G=default",
                "H=set"
            ],
            "variables have the value of before the instruction"
        );
        assert_eq!(section.labels["a.b"], "x y");
        assert_eq!(section.labels["c"], "2");
    }

    #[test]
    fn ports_volumes_user_signal_and_folder() {
        let section = applied(&[
            "EXPOSE 80 53/UDP 8000-8002",
            r#"VOLUME ["/a b"]"#,
            "VOLUME /c /d",
            "USER 1000:1000",
            "STOPSIGNAL SIGQUIT",
            "WORKDIR /srv",
            "WORKDIR ../app/./x",
        ]);
        let ports: Vec<&String> = section.exposed_ports.keys().collect();
        assert_eq!(ports, ["53/udp", "80/tcp", "8000/tcp", "8001/tcp", "8002/tcp"]);
        let volumes: Vec<&String> = section.volumes.keys().collect();
        assert_eq!(volumes, ["/a b", "/c", "/d"]);
        assert_eq!(section.user, "1000:1000");
        assert_eq!(section.stop_signal, "SIGQUIT");
        assert_eq!(section.working_dir, "/app/x");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (change, why) in [
            ("RUN true", "not one of CMD"),
            ("EXPOSE", "needs a value"),
            ("EXPOSE 0", "not a port"),
            ("EXPOSE 70000", "not a port"),
            ("EXPOSE 9-8", "not a port"),
            ("EXPOSE 80/icmp", "tcp, udp"),
            ("STOPSIGNAL SIGNOPE", "not a signal"),
            ("STOPSIGNAL 65", "not a signal"),
            ("USER", "needs a value"),
            ("ENV", "needs"),
            ("ENV A", "needs"),
            ("ENV A=1 B", "needs"),
            ("ENV =1", "needs"),
            ("ENV A=${B", "closing"),
            ("LABEL a='x", "closing"),
            ("CMD", "needs a command"),
            ("HEALTHCHECK", "NONE or CMD"),
            ("HEALTHCHECK NONE now", "takes nothing more"),
            ("HEALTHCHECK --interval=1 CMD x", "`1` is not a span"),
            ("HEALTHCHECK --interval=1us CMD x", "less than 1ms"),
            ("HEALTHCHECK --often CMD x", "no option `--often`"),
            ("HEALTHCHECK CMD", "needs a command"),
            ("ONBUILD", "needs an instruction"),
            ("ONBUILD ONBUILD RUN x", "not allowed"),
            (r#"VOLUME [""]"#, "needs a path"),
        ] {
            match apply(&[change.to_owned()]) {
                Err(Error::InvalidChange { line, why: reason }) => {
                    assert_eq!(line, change);
                    assert!(reason.contains(why), "{change}: {reason}");
                }
                other => panic!("{change}: {other:?}"),
            }
        }
    }

    #[test]
    fn signals_are_names_or_numbers() {
        for signal in ["SIGTERM", "term", "9", "SIGRTMIN+3", "RTMAX-1"] {
            assert_eq!(check_signal(signal), Ok(()), "{signal}");
        }
    }
}

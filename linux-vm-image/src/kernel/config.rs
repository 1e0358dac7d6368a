//! Kernel configurations: reading them, and comparing what was asked for with what came out.

use std::collections::BTreeMap;

/// Values by option name; an option that is off has the value `n`.
pub(crate) type Options = BTreeMap<String, String>;

/// Reads a `.config` or a fragment of one.
pub(crate) fn parse(text: &str) -> Options {
    text.lines()
        .filter_map(|line| {
            if let Some(rest) = line.strip_prefix("# CONFIG_") {
                let name = rest.strip_suffix(" is not set")?;
                return Some((format!("CONFIG_{name}"), "n".to_owned()));
            }
            let (name, value) = line.split_once('=')?;
            name.starts_with("CONFIG_").then(|| (name.to_owned(), value.to_owned()))
        })
        .collect()
}

/// What was asked for and is not so, a line each: `CONFIG_X: wanted y, is n`.
///
/// Kconfig drops an option without a word when something that it depends on is missing.
pub(crate) fn differences(wanted: &Options, have: &Options) -> Vec<String> {
    wanted
        .iter()
        .filter_map(|(name, wanted)| {
            let is = have.get(name).map_or("n", String::as_str);
            (is != wanted).then(|| format!("{name}: wanted {wanted}, is {is}"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_did_not_end_up_as_asked_are_listed() {
        let wanted =
            parse("CONFIG_A=y\nCONFIG_B=\"x\"\n# CONFIG_C is not set\n# a comment\nCONFIG_D=y\n");
        let have = parse("CONFIG_A=y\nCONFIG_B=\"x\"\nCONFIG_C=y\n# CONFIG_D is not set\n");
        assert_eq!(
            differences(&wanted, &have),
            ["CONFIG_C: wanted n, is y", "CONFIG_D: wanted y, is n"]
        );
        assert!(differences(&have, &have).is_empty());
    }

    #[test]
    fn the_committed_fragment_contradicts_itself_nowhere() {
        let mut seen: BTreeMap<String, String> = BTreeMap::new();
        for line in super::super::lean::FRAGMENT.lines() {
            for (name, value) in parse(line) {
                assert!(seen.insert(name.clone(), value).is_none(), "{name} is there twice");
            }
        }
        assert!(seen.len() > 200);
    }
}

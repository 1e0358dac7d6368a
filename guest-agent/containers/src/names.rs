//! Container names: which are valid, how one is made up, and who has one.

use rand::seq::IteratorRandom as _;

use crate::{Error, Shared, id::ContainerId};

/// How often a made-up name may be taken before numbers are appended.
const NAME_ATTEMPTS: u32 = 20;

/// Manners of bridges, ships and weather; people who built bridges and harbours.
const FIRST: &str = "\
    agile amber anchored ample arched balanced braced breezy bright buoyant calm candid \
    careful clear clever coastal cordial crisp curious daring deft diligent distant dry \
    eager early elastic even fair fluent fond frank gentle gilded glad graceful hardy hinged \
    honest humble inland jovial keen kind level light lively lofty loyal lucid mellow merry \
    mild modest moored nimble noble northern open patient placid plucky polite proud quick \
    quiet rapid ready riveted robust serene sheltered silver sincere slender smooth sober \
    spanning spry stable steady sturdy sunny supple swift tidal trusty upbeat valiant vivid \
    warm wise witty zesty";
const LAST: &str = "\
    ammann arup baker bazalgette brindley brunel candela cremona dee dischinger eads eiffel \
    ellet farquhar finley finsterwalder fowler freyssinet gerber grubenmann harrison \
    hennebique jessop kerensky khan labelye lavoinne leonhardt lindenthal maillart menn \
    modjeski monier moisseiff morandi mulon navier nervi otis palladio paine perronet peters \
    polonceau rennie roebling rondelet schlaich seguin smeaton sinan steinman stevenson \
    strauss telford torroja town trezzini vauban vitruvius warren wernwag whipple zhukov";

/// A made-up name. With `attempt` above 0, ends in a number, so that a full list still ends.
#[must_use]
pub fn generate(attempt: u32) -> String {
    let mut rng = rand::rng();
    let first = FIRST.split(' ').choose(&mut rng).unwrap_or("steady");
    let last = LAST.split(' ').choose(&mut rng).unwrap_or("brunel");
    if attempt == 0 {
        format!("{first}_{last}")
    } else {
        format!("{first}_{last}{}", rand::random_range(0..10_u32.saturating_pow(attempt.min(9))))
    }
}

/// Docker's rule: `[a-zA-Z0-9][a-zA-Z0-9_.-]+`. A leading slash is dropped.
///
/// # Errors
/// Says which character is wrong.
pub fn validate(name: &str) -> Result<&str, Error> {
    let name = name.strip_prefix('/').unwrap_or(name);
    let why = |why: &str| Err(Error::invalid("--name", format!("`{name}` {why}")));
    if name.len() < 2 {
        return why("is too short: a name has at least two characters");
    }
    if name.len() > 255 {
        return why("is longer than 255 characters");
    }
    if !name.starts_with(|first: char| first.is_ascii_alphanumeric()) {
        return why("must begin with a letter or a digit");
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    match name.chars().find(|c| !allowed(*c)) {
        Some(wrong) => {
            why(&format!("contains {wrong:?}: only letters, digits, `_`, `.` and `-` are allowed"))
        }
        None => Ok(name),
    }
}

impl Shared {
    /// Takes a name before the container exists, so that two cannot get the same one.
    pub(crate) fn reserve(&self, wanted: &str, id: &ContainerId) -> Result<String, Error> {
        let mut table = self.table.lock();
        if !wanted.is_empty() {
            let name = validate(wanted)?;
            if let Some(owner) = table.names.get(name) {
                let owner = owner.short().to_owned();
                return Err(Error::NameConflict { name: name.into(), owner });
            }
            table.names.insert(name.into(), id.clone());
            return Ok(name.into());
        }
        let mut attempt = 0;
        loop {
            let name = generate(attempt / NAME_ATTEMPTS);
            if !table.names.contains_key(&name) {
                table.names.insert(name.clone(), id.clone());
                return Ok(name);
            }
            attempt += 1;
        }
    }

    /// A name that was taken is free again.
    pub(crate) fn give_up(&self, name: &str) {
        self.table.lock().names.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_generated_name_is_valid() {
        for attempt in 0..3 {
            for _ in 0..200 {
                validate(&generate(attempt)).unwrap();
            }
        }
    }

    #[test]
    fn a_wrong_name_is_refused_with_the_option_named() {
        for name in ["", "a", "-ab", "a b", "a/b", "ä1", ".x"] {
            let error = validate(name).expect_err(name);
            assert!(error.to_string().starts_with("--name: "), "{error}");
        }
        assert_eq!(validate("/web-1.x_2").unwrap(), "web-1.x_2");
    }
}

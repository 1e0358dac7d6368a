//! Reads an answer as the description's types do.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    description::Description,
    loose::{self, Loose},
};
use crate::common::{Docker, Got};

/// The versions that are served; the last one's description is what the types are made of.
pub(super) const VERSIONS: std::ops::RangeInclusive<u16> = 24..=54;

/// One endpoint, and what its answer has beside the description.
pub(super) struct Case {
    /// `METHOD PATH?QUERY`.
    pub(super) request: &'static str,
    pub(super) body: &'static str,
    pub(super) status: u16,
    pub(super) read: fn(&Got) -> Read,
    /// Fields that the newest description does not have, and the last version that sends them.
    pub(super) older: &'static [(&'static str, u16)],
    /// Fields that are null in the newest version, as Docker Engine has them.
    pub(super) nulls: &'static [&'static str],
}

/// What an answer has: places like `Config.OnBuild`, `*` for each of a list.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Read {
    unknown: Vec<String>,
    nulls: Vec<String>,
}

/// Of an answer that is one value.
pub(super) fn one<T: DeserializeOwned>(got: &Got) -> Read {
    assert_eq!(got.header("content-type"), "application/json");
    read::<T>(&[got.json()])
}

/// Of an answer that is a stream of values.
pub(super) fn lines<T: DeserializeOwned>(got: &Got) -> Read {
    assert_eq!(got.header("content-type"), "application/json");
    let lines = got.lines();
    assert!(!lines.is_empty(), "{got:?}");
    read::<T>(&lines)
}

/// Of an answer without a body.
pub(super) fn nothing(got: &Got) -> Read {
    assert!(got.body.is_empty(), "{got:?}");
    Read::default()
}

fn read<T: DeserializeOwned>(values: &[Value]) -> Read {
    let mut read = Read::default();
    for value in values {
        let unknown = |path: serde_ignored::Path| read.unknown.push(place(&path.to_string()));
        if let Err(error) = serde_ignored::deserialize::<_, _, T>(value, unknown) {
            panic!("{}: {error}\n{value:#}", std::any::type_name::<T>());
        }
        nulls(value, "", &mut read.nulls);
    }
    for list in [&mut read.unknown, &mut read.nulls] {
        list.sort();
        list.dedup();
    }
    read
}

/// Without what Rust's types add to a path.
pub(super) fn place(path: &str) -> String {
    let parts = path.split('.').filter(|part| !matches!(*part, "" | "?"));
    let list = |part| if str::parse::<usize>(part).is_ok() { "*" } else { part };
    parts.map(list).collect::<Vec<_>>().join(".")
}

fn nulls(value: &Value, at: &str, found: &mut Vec<String>) {
    let within = |name: &str| if at.is_empty() { name.into() } else { format!("{at}.{name}") };
    match value {
        Value::Null => found.push(at.into()),
        Value::Array(all) => all.iter().for_each(|one| nulls(one, &within("*"), found)),
        Value::Object(all) => all.iter().for_each(|(name, one)| nulls(one, &within(name), found)),
        _ => {}
    }
}

/// Asks in every version and compares.
pub(super) async fn conform(docker: &Docker, cases: &[Case]) {
    let mut wrong = Vec::new();
    for case in cases {
        for minor in VERSIONS {
            wrong.extend(differences(docker, case, minor).await);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Asks in the newest version only: what can be asked once.
pub(super) async fn conforms_now(docker: &Docker, case: &Case) {
    let wrong = differences(docker, case, *VERSIONS.end()).await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

async fn differences(docker: &Docker, case: &Case, minor: u16) -> Vec<String> {
    let (method, path) = case.request.split_once(' ').expect("a method and a path");
    let got = docker.call(method, &format!("/v1.{minor}{path}"), case.body).await;
    let what = format!("{} in 1.{minor}", case.request);
    if got.status.as_u16() != case.status {
        return vec![format!("{what}: {} and not {}: {got:?}", got.status, case.status)];
    }
    let read = (case.read)(&got);
    let mut older: Vec<&str> =
        case.older.iter().filter(|(_, last)| minor <= *last).map(|(name, _)| *name).collect();
    older.sort_unstable();
    let mut nulls = case.nulls.to_vec();
    nulls.sort_unstable();
    let mut wrong = Vec::new();
    if read.unknown != older {
        let found = read.unknown;
        wrong.push(format!("{what}: beside the description is {found:?} and not {older:?}"));
    }
    if minor == *VERSIONS.end() && read.nulls != nulls {
        wrong.push(format!("{what}: null is {:?} and not {nulls:?}", read.nulls));
    }
    wrong.extend(beside(minor, method, path, &got).iter().map(|found| format!("{what}: {found}")));
    wrong
}

/// What the description of this version, if there is one, does not allow: what Docker Engine itself
/// has beside it must be there in the last version that it names.
pub(super) fn beside(minor: u16, method: &str, path: &str, got: &Got) -> Vec<String> {
    let Some(description) = Description::of(minor) else { return Vec::new() };
    let found = description.differences(method, path, got);
    let loose = loose::of(&format!("{method} {path}"), got.status.is_success());
    let is = |found: &str, (end, _): &Loose| {
        found.strip_suffix(end).is_some_and(|place| place.is_empty() || place.ends_with('.'))
    };
    let allowed = |found: &String| loose.iter().any(|one| minor <= one.1 && is(found, one));
    let unseen = |one: &&Loose| {
        got.status.is_success() && minor == one.1 && !found.iter().any(|found| is(found, one))
    };
    let wrong = found
        .iter()
        .filter(|found| !allowed(found))
        .map(|found| format!("{found} (in this version's description)"));
    let wrong = wrong.chain(
        loose
            .iter()
            .filter(unseen)
            .map(|(end, last)| format!("no `{end}`, which 1.{last} is said to have")),
    );
    wrong.collect()
}

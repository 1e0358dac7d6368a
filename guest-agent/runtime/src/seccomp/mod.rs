//! The default system call filter: on a par with Docker's, in the form the kernel takes.
//!
//! [`lists`] says what is allowed and why, [`compile`] turns it into BPF. Anything else answers
//! EPERM, so that a program learns that it may not rather than die.

mod compile;
mod lists;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use crate::capabilities::bit;
use compile::Rule;

/// Filters made so far, by the capabilities that made a difference. There are few in practice.
static CACHE: LazyLock<Mutex<HashMap<u64, Arc<Vec<u64>>>>> = LazyLock::new(Mutex::default);

/// The default filter of a process with these bounding capabilities, for
/// [`Process::seccomp`](crate::plan::Process::seccomp). Compiled once for each set that matters.
#[must_use]
pub fn default_filter(bounding: u64) -> Arc<Vec<u64>> {
    let relevant = lists::WITH_CAPABILITY
        .iter()
        .fold(0, |relevant, (capability, _)| relevant | (bounding & bit(*capability)));
    let mut cache = CACHE.lock().unwrap_or_else(PoisonError::into_inner);
    let filter = cache
        .entry(relevant)
        .or_insert_with(|| Arc::new(compile::compile(&rules(relevant), lists::NEWEST)));
    Arc::clone(filter)
}

/// The rules, by number. A capability's calls are added last: it overrides a condition.
fn rules(capabilities: u64) -> BTreeMap<u32, Rule> {
    let always =
        [lists::ALWAYS, lists::ALWAYS_RECENT, lists::ARCHITECTURE, lists::ARCHITECTURE_RECENT];
    let mut rules: BTreeMap<u32, Rule> =
        always.concat().into_iter().map(|number| (number, Rule::Allow)).collect();
    rules.extend(lists::CONDITIONAL.iter().copied());
    for (capability, calls) in lists::WITH_CAPABILITY {
        if capabilities & bit(*capability) != 0 {
            rules.extend(calls.iter().map(|number| (*number, Rule::Allow)));
        }
    }
    rules
}

#[cfg(test)]
mod tests;

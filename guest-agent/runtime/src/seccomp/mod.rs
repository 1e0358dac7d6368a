//! The default system call filter: on a par with Docker's, in the form the kernel takes.
//!
//! [`lists`] says what is allowed and why, [`compile`] turns it into BPF. Anything else answers
//! EPERM, so that a program learns that it may not rather than die. [`profile`] reads other
//! people's profiles. What is refused and why is in docs/seccomp.md.

mod compile;
mod lists;
mod profile;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use crate::capabilities::bit;
use compile::{NATIVE, Rule, Table, always};
use linkspan_sys::nix::libc;
pub use profile::{ProfileError, profile_filter};

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
        .or_insert_with(|| Arc::new(compile::compile(&tables(&rules(relevant)), no_such_call())));
    Arc::clone(filter)
}

/// What a call of an architecture without a table answers.
fn no_such_call() -> Vec<u64> {
    always(libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32)
}

fn tables(rules: &BTreeMap<u32, Rule>) -> Vec<Table> {
    let native = Table::of(NATIVE, rules, lists::NEWEST);
    #[cfg(target_arch = "x86_64")]
    return vec![native, Table::of(compile::I386, &lists::i386(rules), lists::NEWEST)];
    #[cfg(not(target_arch = "x86_64"))]
    vec![native]
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

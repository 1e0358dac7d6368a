//! The Docker Engine API's JSON, and what it means in our contract.
//!
//! Owns: the shapes of `moby/api/types` as Docker Engine 29 writes them (`null` or `[]` or left out,
//! as there), what older versions of the API had or lacked ([`compat`]), and the conversions from and to
//! `linkspan.v1`. The daemon's Docker API serves it; the command line's `inspect` prints the same.
//!
//! Does not: HTTP, input and output, clocks (what depends on the time takes it). It knows the contract and
//! nothing else of ours.
//!
//! The types are our own because the generated ones (`bollard-stubs`) leave out every field that is
//! not set, where Docker writes `null`, `[]`, `""` or `0`, and read no `null` for it. They serve
//! as the schema in the tests: every field that they have in a body is known here, and what is
//! written here can be read by them.

// A test compares one object of more than a hundred parts.
#![cfg_attr(test, recursion_limit = "256")]

pub mod compat;
pub mod container;
pub mod detach;
pub mod error;
pub mod event;
pub mod filters;
pub mod header;
pub mod image;
pub mod json;
pub mod network;
pub mod size;
pub mod stdio;
pub mod system;
pub mod time;
pub mod version;
pub mod volume;

/// A set of names as Go writes it: an object of empty objects.
pub type Set = std::collections::BTreeMap<String, Empty>;

/// `{}`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Empty {}

/// Names as a [`Set`].
pub fn set<'a>(names: impl IntoIterator<Item = &'a String>) -> Set {
    names.into_iter().map(|name| (name.clone(), Empty {})).collect()
}

/// Pairs, ordered.
pub type Pairs = std::collections::BTreeMap<String, String>;

/// The wire's maps have no order.
fn pairs(map: &std::collections::HashMap<String, String>) -> Pairs {
    map.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// Go's nil for a list that is empty.
fn some<T: Clone>(list: &[T]) -> Option<Vec<T>> {
    (!list.is_empty()).then(|| list.to_vec())
}

/// For fields with `omitempty`.
fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

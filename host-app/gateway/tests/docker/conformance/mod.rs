//! Every answer of every version against the types that are generated from Docker's OpenAPI
//! description: what the description requires is there and of its type, nothing else is there but
//! what is named here with the version until which Docker Engine sent it, and `null` is where
//! Docker Engine has it.

mod check;
mod containers;
mod engine;
mod guest;
mod images;
mod networks;
mod older;

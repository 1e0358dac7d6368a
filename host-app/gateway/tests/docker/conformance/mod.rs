//! Every answer of every version against Docker's own description of that version (`description`),
//! and against the types that are generated from the newest one: what the description requires is
//! there and of its type, nothing else is there but what is named here with the version until which
//! Docker Engine sent it, and `null` is where Docker Engine has it.

mod check;
mod containers;
mod description;
mod engine;
mod guest;
mod images;
mod loose;
mod networks;
mod older;
mod refused;

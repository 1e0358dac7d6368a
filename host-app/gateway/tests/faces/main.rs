//! The daemon's faces on real local sockets, over a stub engine with an in-memory guest.

mod common;
mod host;
mod pass_through;
mod registry;

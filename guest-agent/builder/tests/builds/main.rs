//! Builds on a store of their own. Commands are played: what RUN does to files is written into the
//! folder that would be the upper layer of its container.

mod bench;
mod cache;
mod client;
mod copies;
mod images;
mod runs;
mod table;

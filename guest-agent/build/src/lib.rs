//! The front end of builds: a Dockerfile's text, build arguments, a target and a platform become a
//! checked [`Plan`]: stages and steps with everything resolved, which an executor then runs.
//!
//! Pure and synchronous: nothing here reads a file, asks a registry or starts a process. Where the
//! plan depends on images (a base has variables, a working folder, ONBUILD triggers), [`plan`] says
//! which it lacks, and the caller asks again with them. Where a cache key depends on what only the
//! execution knows, the key has a named [`Hole`].
//!
//! ```text
//! text --syntax--> statements --plan/graph--> stages that the target needs
//!                                                |  missing images? -> Outcome::Missing
//!                                                v
//!                                             plan/stage: one statement after the other
//!                                                |  variables, configuration, history, keys
//!                                                v
//!                                              Plan
//! ```
//!
//! [`execute`] then carries the plan out with a [`Worker`] that makes layers.
//!
//! The rules are those of Docker's reference and of BuildKit where the reference is silent. The
//! parser is our own: `parse-dockerfile` keeps spans, but leaves the words of ENV, LABEL, ARG and
//! flags to its caller, has no BuildKit wording, and reads no trigger.

#![forbid(unsafe_code)]

mod config;
mod env;
mod error;
mod execute;
mod expand;
mod format;
mod git;
mod ignore;
mod mode;
mod plan;
mod platform;
mod source;
mod syntax;

pub use config::{Config, Empty, Healthcheck, History, ImageConfig};
pub use error::{Error, Problem, Result, Suggestion, excerpt};
pub use execute::{Built, Event, Failure, ImageName, Tree, Trees, Worker, execute};
pub use ignore::{ContextFilter, Ignore, MOST_LINKS, Matched, ignore_files};
pub use mode::ModeChange;
pub use plan::{
    Action, Base, CopyStep, Entitlement, FileSource, FolderStep, Hole, ImageInfo, ImageRequest,
    Images, Key, Mount, Network, Options, Outcome, Parent, Plan, PlannedStage, RunStep, Script,
    Sharing, Source, Step, Warning, plan,
};
pub use platform::parse as parse_platform;
pub use source::Span;
/// What is supported, as data.
pub mod support {
    pub use crate::syntax::table::{
        ARGUMENTS, DIRECTIVES, Flag, INSTRUCTIONS, InstructionSpec, MOUNT_OPTIONS, Named, Support,
        Takes, WARNINGS,
    };
}

//! Builds of Dockerfiles: what joins the planner, the builder and the machine.
//!
//! ```text
//! dialogue   the caller is asked for images, listings and contents; then the plan is carried out
//! machine    runs the commands of a build, and fetches its files
//! ssh        carries what a command opens on the socket of an SSH agent to the caller
//! export     makes the image, or writes it, or the files
//! report     tells the caller how it goes
//! ```

mod dialogue;
mod export;
mod machine;
mod options;
mod remote;
mod report;
mod ssh;

use std::sync::Arc;

use linkspan_builder::Builder;
use linkspan_containers::{launch::Launcher, limits::Capacity, network::Networks};

pub(crate) use dialogue::{of_build, run};

/// What builds need. Cheap to clone.
#[derive(Clone)]
pub struct Builds {
    /// The layers, and what earlier builds left.
    pub builder: Arc<Builder>,
    /// Starts commands.
    pub launcher: Arc<dyn Launcher>,
    /// Gives commands a network.
    pub networks: Arc<dyn Networks>,
    /// What limits of commands are checked against.
    pub capacity: Capacity,
}

//! From statements to a plan.

mod arguments;
mod files;
mod graph;
mod key;
mod ports;
mod run;
mod settings;
mod stage;
mod titles;
mod types;
mod warnings;

pub use key::{Hole, Key, Parent};
pub use types::{
    Action, Base, CopyStep, Entitlement, FileSource, FolderStep, ImageInfo, ImageRequest, Images,
    Mount, Network, Options, Outcome, Plan, PlannedStage, RunStep, Script, Sharing, Source, Step,
    Warning,
};

use crate::error::{Error, Problem, Result};
use crate::ignore::ContextFilter;
use crate::syntax::{self, Directives};

use arguments::Globals;
use graph::Graph;
use warnings::Warnings;

/// Plans a build.
///
/// Either the plan, or the images without which it cannot be made: the caller brings them, all at
/// once if it likes, and calls again. A trigger of a base can name further images, so there may be
/// more than one round; each names at least one image that was not known, so the rounds end.
///
/// # Errors
/// The Dockerfile is wrong, or wrong with these options.
pub fn plan(text: &str, options: &Options, images: &Images) -> Result<Outcome> {
    let lines = syntax::read(text)?;
    check_syntax(&lines.directives)?;
    let mut warnings = Warnings::new(&lines.directives)?;
    let statements = lines
        .lines
        .iter()
        .map(|line| syntax::parse(line, lines.escape))
        .collect::<Result<Vec<_>>>()?;
    if statements.is_empty() {
        return Err(Error::whole(Problem::NoInstructions));
    }
    warnings.about_text(&statements);
    let globals = Globals::new(&statements, lines.escape, options)?;
    let mut graph = Graph::new(statements, lines.escape, &globals, options)?;
    let missing = graph.resolve(images)?;
    if !missing.is_empty() {
        return Ok(Outcome::Missing(missing));
    }
    warnings.about_stages(&graph, images);
    let (stages, mut config) =
        stage::plan_all(&graph, &globals, options, images, lines.escape, &mut warnings)?;
    warnings.about_arguments(&graph, &globals, options);
    let target = stages.iter().position(|stage| stage.number == graph.target).unwrap_or_default();
    config.config.labels.extend(options.labels.clone());
    let context = ContextFilter::of(&stages, options.ignore.clone());
    let warnings = warnings.finish()?;
    let epoch = globals.epoch;
    Ok(Outcome::Plan(Box::new(Plan { stages, target, config, context, epoch, warnings })))
}

/// Only our own frontend runs.
fn check_syntax(directives: &Directives) -> Result<()> {
    let (Some(syntax), Some(span)) = (&directives.syntax, directives.span) else { return Ok(()) };
    let image = syntax.split_whitespace().next().unwrap_or_default();
    let name = image.split(['@', ':']).next().unwrap_or_default();
    let ours = ["docker/dockerfile", "docker/dockerfile-upstream"];
    if ours.contains(&name.trim_start_matches("docker.io/")) {
        return Ok(());
    }
    Err(Error::reading(Problem::Syntax { name: image.to_owned() }, span))
}

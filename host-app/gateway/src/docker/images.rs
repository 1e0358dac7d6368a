//! `/images`: those that are there. What comes and goes is in [`super::transfer`].

use http::StatusCode;
use linkspan_docker_types::{
    image::{self, Platform, Summary, inspect::Image},
    json,
};
use linkspan_proto::error::Failure;
use linkspan_proto::v1::{
    DiskUsageRequest, ImageDetail, InspectImageRequest, ListImagesRequest, PruneImagesRequest,
    RemoveImageRequest, TagImageRequest,
};

use super::{
    answer::{Absent as _, Outcome, Refusal, done, ok},
    call::Call,
};

/// `repo` and `tag` of a query as one reference; empty without a repository. A tag may be a digest.
pub(super) fn reference(repo: &str, tag: &str) -> String {
    match tag {
        "" => repo.to_owned(),
        digest if digest.contains(':') => format!("{repo}@{digest}"),
        tag => format!("{repo}:{tag}"),
    }
}

/// A reference with the tag that it means.
pub(super) fn tagged(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    if last.contains([':', '@']) { image.to_owned() } else { format!("{image}:latest") }
}

/// Docker's words.
pub(super) fn no_such(image: &str) -> String {
    format!("No such image: {}", tagged(image))
}

/// A reference names one image of its repository, not all of them.
pub(super) fn has_tag(image: &str) -> bool {
    tagged(image) == image
}

pub(super) async fn list(call: Call) -> Outcome {
    let mut filters = call.filters()?;
    // As moby's `daemon/images/images.go`.
    filters.only(&["dangling", "label", "label!", "before", "since", "reference", "until"])?;
    // Before 1.41 there was a parameter for the one that was used most.
    if call.version.before(41) && !call.text("filter").is_empty() {
        filters.insert("reference", call.text("filter"));
    }
    let request = ListImagesRequest {
        references: Vec::new(),
        all: call.flag("all"),
        filters: filters.list(),
    };
    let agent = call.agent().await?;
    let images = agent.images().list(request).await?.into_inner().images;
    let mut shared = std::collections::HashMap::new();
    if call.flag("shared-size") {
        let usage = agent.system().disk_usage(DiskUsageRequest {}).await?.into_inner();
        for image in usage.images {
            shared.insert(image.image.unwrap_or_default().id, image.shared_bytes);
        }
    }
    let show = |image| Summary::new(image, shared.get(&image.id).copied()).at(call.version);
    ok(&images.iter().map(show).collect::<Vec<_>>())
}

/// An image as it is now.
async fn detail(call: &Call) -> Result<ImageDetail, Refusal> {
    let name = call.name("name");
    let request = InspectImageRequest { image: name.clone() };
    let wanted = platforms(call, "platform")?;
    let found = call.agent().await?.images().inspect(request).await.absent(|| no_such(&name))?;
    let image = found.image.unwrap_or_default();
    let [is, is_any_variant] = Platform::of(&image);
    match wanted.iter().find(|wanted| **wanted != is && **wanted != is_any_variant) {
        None => Ok(image),
        Some(wanted) => Err(Refusal::new(
            StatusCode::NOT_FOUND,
            format!(
                "image with reference {name} was found but its platform ({is}) does not match the specified platform ({wanted})"
            ),
        )),
    }
}

/// The platforms that a parameter names, each as JSON, in the form `os/architecture[/variant]`.
pub(super) fn platforms(call: &Call, key: &str) -> Result<Vec<String>, Refusal> {
    let texts = call.texts(key);
    let given = texts.iter().filter(|text| !text.is_empty());
    given.map(|text| Ok(json::read::<Platform>(text.as_bytes())?.to_string())).collect()
}

pub(super) async fn inspect(call: Call) -> Outcome {
    ok(&Image::from(&detail(&call).await?).at(call.version))
}

pub(super) async fn history(call: Call) -> Outcome {
    let image = detail(&call).await?;
    let sizes = image.summary.as_ref().map(|summary| summary.layer_bytes.clone());
    ok(&image::history(&image, &sizes.unwrap_or_default()))
}

pub(super) async fn tag(call: Call) -> Outcome {
    let name = call.name("name");
    let target = reference(call.text("repo"), call.text("tag"));
    let request = TagImageRequest { source: name.clone(), target };
    call.agent().await?.images().tag(request).await.absent(|| no_such(&name))?;
    done(StatusCode::CREATED)
}

pub(super) async fn remove(call: Call) -> Outcome {
    let name = call.name("name");
    let request = RemoveImageRequest {
        image: name.clone(),
        force: call.flag("force"),
        no_prune: call.flag("noprune"),
        platforms: platforms(&call, "platforms")?,
    };
    let removed = call.agent().await?.images().remove(request).await.map_err(|status| {
        let failure = Failure::from(status);
        // An image of another platform than the named one has words of its own.
        match failure.message.starts_with("no such image") {
            true => Refusal::new(StatusCode::NOT_FOUND, no_such(&name)),
            false => failure.into(),
        }
    })?;
    ok(&image::removed(removed.get_ref()))
}

/// `dangling=false` is what the contract calls all.
pub(super) async fn prune(call: Call) -> Outcome {
    let mut filters = call.filters()?;
    let all = filters.take_bool("dangling")? == Some(false);
    let request = PruneImagesRequest { all, filters: filters.list() };
    let pruned = call.agent().await?.images().prune(request).await?.into_inner();
    ok(&image::Pruned::from(&pruned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_put_together_as_docker_does() {
        assert_eq!(reference("", ""), "");
        assert_eq!(reference("a/b", ""), "a/b");
        assert_eq!(reference("h:5000/a", "v1"), "h:5000/a:v1");
        assert_eq!(reference("a", "sha256:00"), "a@sha256:00");
        assert_eq!(tagged("a"), "a:latest");
        assert_eq!(tagged("h:5000/a"), "h:5000/a:latest");
        assert_eq!(tagged("h:5000/a:1"), "h:5000/a:1");
        assert_eq!(tagged("a@sha256:00"), "a@sha256:00");
    }
}

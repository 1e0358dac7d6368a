//! Images on their way: pull, import, push, load, save, search.

use futures::{Stream, StreamExt as _, stream};
use http::StatusCode;
use linkspan_docker_types::{
    header,
    image::{
        Found,
        progress::{Detail, Message},
    },
};
use linkspan_proto::{
    error::Failure,
    v1::{
        ImportImageRequest, LoadImageRequest, LoadProgress, LoadedImage, PullImageRequest,
        PushImageRequest, RegistryCredentials, SaveImagesRequest, SearchImagesRequest,
        load_image_response, pull_image_response, push_image_response,
    },
};
use tonic::Status;

use super::{
    answer::{self, Broken, Outcome, Refusal, lines, ok, telling},
    bulk,
    call::Call,
    images::{platforms, reference},
};

/// `X-Registry-Auth`; without it the registry is asked as anybody.
pub(super) fn credentials(call: &Call) -> Result<Option<RegistryCredentials>, Refusal> {
    Ok(header::registry_auth(call.header(header::REGISTRY_AUTH))?)
}

/// The one platform that may be named; empty: none is. An image here is of one.
fn given_platform(call: &Call) -> Result<String, Refusal> {
    let mut all = platforms(call, "platform")?;
    all.dedup();
    if all.len() > 1 {
        let why = format!("more than one platform is not supported: {}", all.join(", "));
        return Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, why));
    }
    Ok(all.pop().unwrap_or_default())
}

/// Progress as Docker's stream. What fails before the first `held` lines are there has a status of
/// its own; later it is a line.
async fn progress<T: Send + 'static>(
    held: usize,
    mut messages: impl Stream<Item = Result<T, Status>> + Send + Unpin + 'static,
    mut shown: impl FnMut(T) -> Vec<Message> + Send + 'static,
) -> Outcome {
    let mut first = Vec::new();
    while first.len() < held
        && let Some(message) = messages.next().await.transpose()?
    {
        first.push(Ok(message));
    }
    let rest = stream::iter(first).chain(messages).flat_map(move |message| {
        stream::iter(match message {
            Ok(message) => shown(message),
            Err(status) => vec![Message::error(&Failure::from(status))],
        })
    });
    Ok(lines(rest.map(Ok::<_, Broken>)).into())
}

/// `POST /images/create`: a pull, or with `fromSrc` an import.
pub(super) async fn create(call: Call) -> Outcome {
    let image = call.text("fromImage").to_owned();
    if image.is_empty() {
        return import(call).await;
    }
    let tag = call.text("tag");
    let request = PullImageRequest {
        all_tags: tag.is_empty() && !super::images::has_tag(&image),
        reference: reference(&image, tag),
        platform: call.text("platform").into(),
        credentials: credentials(&call)?,
    };
    let messages = call.registries().await?.pull(request).await?.into_inner();
    // The first line says what is asked for. Docker says it when the registry has answered.
    progress(2, messages, |message| match message.kind {
        Some(pull_image_response::Kind::Progress(progress)) => vec![Message::from(&progress)],
        // What was pulled has been said in words.
        Some(pull_image_response::Kind::Pulled(_)) | None => Vec::new(),
    })
    .await
}

async fn import(call: Call) -> Outcome {
    let source = call.text("fromSrc");
    let url = match source {
        "" => return Err(Refusal::bad("bad parameter: fromImage or fromSrc is missing")),
        "-" => None,
        url if url.contains("://") => Some(url.to_owned()),
        address => Some(format!("http://{address}")),
    };
    let request = ImportImageRequest {
        reference: reference(call.text("repo"), call.text("tag")),
        message: call.text("message").into(),
        changes: call.texts("changes"),
        platform: call.text("platform").into(),
        ..ImportImageRequest::default()
    };
    if let Some(url) = url {
        let downloads = Message::status(format!("Downloading from {url}"));
        let request = ImportImageRequest { url, ..request };
        let made = call.agent().await?.images().import(request).await?.into_inner();
        let told = [downloads, Message::status(made.id)];
        return Ok(lines(stream::iter(told.map(Ok::<_, Broken>))).into());
    }
    let agent = call.agent().await?;
    let mut images = agent.images();
    let made = bulk::upload(&agent, call.reader(), |stream_id| async move {
        Ok(images.import(ImportImageRequest { stream_id, ..request }).await?.into_inner())
    });
    let made = made.await?;
    Ok(lines(stream::iter([Ok::<_, Broken>(Message::status(made.id))])).into())
}

pub(super) async fn push(call: Call) -> Outcome {
    let name = call.name("name");
    let tag = call.text("tag");
    let request = PushImageRequest {
        all_tags: tag.is_empty() && !super::images::has_tag(&name),
        reference: reference(&name, tag),
        platform: given_platform(&call)?,
        credentials: credentials(&call)?,
    };
    let messages = call.registries().await?.push(request).await?.into_inner();
    progress(1, messages, |message| match message.kind {
        Some(push_image_response::Kind::Progress(progress)) => vec![Message::from(&progress)],
        Some(push_image_response::Kind::Pushed(pushed)) => vec![Message::pushed(&pushed)],
        None => Vec::new(),
    })
    .await
}

/// As Docker says what it has loaded.
fn lines_of(loaded: LoadedImage) -> Vec<Message> {
    if loaded.tags.is_empty() {
        return vec![Message::stream(format!("Loaded image ID: {}\n", loaded.id))];
    }
    let tags = loaded.tags.iter();
    tags.map(|tag| Message::stream(format!("Loaded image: {tag}\n"))).collect()
}

/// As Docker tells of a layer that is on its way.
fn loading(progress: &LoadProgress) -> Message {
    let id = progress.layer.rsplit(':').next().unwrap_or_default();
    let id = id.get(..12).unwrap_or(id).to_owned();
    let detail = Some(Detail { current: progress.bytes, total: 0 });
    Message { status: "Loading layer".into(), detail, id, ..Message::default() }
}

pub(super) async fn load(call: Call) -> Outcome {
    let quiet = call.flag("quiet");
    let platform = given_platform(&call)?;
    let agent = call.agent().await?;
    let mut images = agent.images();
    telling(async move |lines| {
        bulk::upload(&agent, call.reader(), |stream_id| async move {
            let request = LoadImageRequest { stream_id, platform };
            let mut messages = images.load(request).await?.into_inner();
            while let Some(message) = messages.message().await? {
                let told = match message.kind {
                    Some(load_image_response::Kind::Loaded(loaded)) => lines_of(loaded),
                    Some(load_image_response::Kind::Progress(progress)) if !quiet => {
                        vec![loading(&progress)]
                    }
                    Some(load_image_response::Kind::Progress(_)) | None => Vec::new(),
                };
                for line in told {
                    // A client that has gone is noticed elsewhere.
                    let _ = lines.send(Ok(line)).await;
                }
            }
            Ok(())
        })
        .await
    })
    .await
}

/// One image by its path, or several by `names`.
pub(super) async fn save(call: Call) -> Outcome {
    let mut images = call.texts("names");
    let one = call.name("name");
    if !one.is_empty() {
        images.push(one);
    }
    if images.is_empty() {
        return Err(Refusal::bad("bad parameter: names is missing"));
    }
    let platform = given_platform(&call)?;
    let agent = call.agent().await?;
    let mut calls = agent.images();
    let wanted = images.clone();
    let chunks = bulk::download(&agent, move |stream_id| async move {
        let request = SaveImagesRequest { images, stream_id, platform, ..Default::default() };
        calls.save(request).await
    });
    let chunks = chunks.await.map_err(|refusal| not_saved(refusal, &wanted))?;
    Ok(answer::stream("application/x-tar", chunks).into())
}

/// A missing image is told in Docker's words.
fn not_saved(refusal: Refusal, wanted: &[String]) -> Refusal {
    let is = |image: &&String| refusal.message == format!("no such image: `{image}`");
    match wanted.iter().find(is) {
        Some(image) => Refusal::new(StatusCode::NOT_FOUND, super::images::no_such(image)),
        None => refusal,
    }
}

pub(super) async fn search(call: Call) -> Outcome {
    let request = SearchImagesRequest {
        term: call.text("term").into(),
        limit: call.number("limit")?.unwrap_or(0),
        filters: call.filters()?.list(),
        credentials: credentials(&call)?,
    };
    let found = call.registries().await?.search(request).await?.into_inner();
    ok(&found.images.iter().map(Found::from).collect::<Vec<_>>())
}

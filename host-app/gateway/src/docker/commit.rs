//! `POST /commit`: a container's changes as an image.

use linkspan_docker_types::container::{answers::Id, commit, config::Config};
use linkspan_proto::v1::CommitContainerRequest;

use super::{
    answer::{Absent as _, Outcome, created},
    call::Call,
    containers::no_such,
    images::reference,
};

pub(super) async fn commit(mut call: Call) -> Outcome {
    let container = call.text("container").to_owned();
    let config: Config = call.json_or_default().await?;
    let request = CommitContainerRequest {
        container: container.clone(),
        reference: reference(call.text("repo"), call.text("tag")),
        author: call.text("author").into(),
        message: call.text("comment").into(),
        // One parameter may hold several lines.
        changes: call
            .texts("changes")
            .iter()
            .flat_map(|text| text.lines())
            .map(str::to_owned)
            .collect(),
        no_pause: !call.flag_or("pause", true),
        config: Some(commit::config(config)?),
    };
    let made = call.agent().await?.files().commit(request).await.absent(|| no_such(&container))?;
    created(&Id { id: made.id })
}

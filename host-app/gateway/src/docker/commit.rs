//! `POST /commit`: a container's changes as an image.

use linkspan_docker_types::container::{answers::Id, config::Config};
use linkspan_proto::v1::CommitContainerRequest;
use serde_json::Value;

use super::{
    answer::{Absent as _, Outcome, created},
    call::Call,
    containers::no_such,
    images::reference,
};

pub(super) async fn commit(mut call: Call) -> Outcome {
    let container = call.text("container").to_owned();
    let config: Config = call.json_or_default().await?;
    let mut changes = instructions(&config);
    // One parameter may hold several lines.
    changes.extend(call.texts("changes").iter().flat_map(|text| text.lines()).map(str::to_owned));
    let request = CommitContainerRequest {
        container: container.clone(),
        reference: reference(call.text("repo"), call.text("tag")),
        author: call.text("author").into(),
        message: call.text("comment").into(),
        changes,
        no_pause: !call.flag_or("pause", true),
    };
    let made = call.agent().await?.files().commit(request).await.absent(|| no_such(&container))?;
    created(&Id { id: made.id })
}

/// What a body says of the image, as the instructions that say the same.
fn instructions(config: &Config) -> Vec<String> {
    // Of a Dockerfile's quoted word these three have a meaning.
    let quoted = |text: &str| {
        let text = text.replace('\\', r"\\").replace('"', "\\\"").replace('$', r"\$");
        format!("\"{text}\"")
    };
    let list = |words: &Vec<String>| Value::from(words.clone()).to_string();
    let mut all = Vec::new();
    for pair in config.env.iter().flatten() {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        all.push(format!("ENV {name}={}", quoted(value)));
    }
    for (name, value) in &config.labels {
        all.push(format!("LABEL {}={}", quoted(name), quoted(value)));
    }
    all.extend(config.exposed_ports.keys().map(|port| format!("EXPOSE {port}")));
    let volumes = config.volumes.iter().flat_map(|volumes| volumes.keys());
    all.extend(volumes.map(|path| format!("VOLUME {}", list(&vec![path.clone()]))));
    all.extend(config.entrypoint.as_ref().map(|words| format!("ENTRYPOINT {}", list(words))));
    all.extend(config.cmd.as_ref().map(|words| format!("CMD {}", list(words))));
    for (name, value) in [("USER", &config.user), ("WORKDIR", &config.working_dir)] {
        if !value.is_empty() {
            all.push(format!("{name} {value}"));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_what_its_instructions_say() {
        let body =
            br#"{"Env":["A=b c$"],"Cmd":["sh","-c","echo \"x\""],"Labels":{"k":"v"},"User":"7"}"#;
        let config: Config = linkspan_docker_types::json::read(body).unwrap();
        assert_eq!(
            instructions(&config),
            [r#"ENV A="b c\$""#, r#"LABEL "k"="v""#, r#"CMD ["sh","-c","echo \"x\""]"#, "USER 7"]
        );
        assert!(instructions(&Config::default()).is_empty());
    }
}

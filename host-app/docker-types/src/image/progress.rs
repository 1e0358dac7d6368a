//! Lines of a long answer: `pull`, `push`, `load`, `import`, `build` (`api/types/jsonstream`).

use linkspan_proto::error::Failure;
use linkspan_proto::v1::{PushedImage, TransferProgress};
use serde::Serialize;
use serde_json::{Value, json};

use crate::size;

/// One line, without its end.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct Message {
    /// Text that is printed as it is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stream: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub status: String,
    #[serde(rename = "progressDetail", skip_serializing_if = "Option::is_none")]
    pub detail: Option<Detail>,
    /// The detail as a picture, for older clients.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub progress: String,
    /// What the line is about; a new one takes the place of the old one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    #[serde(rename = "errorDetail", skip_serializing_if = "Option::is_none")]
    pub error_detail: Option<ErrorDetail>,
    /// The same for older clients.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
    /// For programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aux: Option<Value>,
}

/// `{}` when there is nothing to count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct Detail {
    #[serde(skip_serializing_if = "crate::is_zero")]
    pub current: u64,
    #[serde(skip_serializing_if = "crate::is_zero")]
    pub total: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct ErrorDetail {
    /// The exit code of the client, unless it is 1 anyway.
    #[serde(skip_serializing_if = "crate::is_zero")]
    pub code: i32,
    pub message: String,
}

impl Message {
    /// Text for the one who looks on.
    #[must_use]
    pub fn stream(text: impl Into<String>) -> Self {
        Self { stream: text.into(), ..Self::default() }
    }

    /// A line about the whole.
    #[must_use]
    pub fn status(text: impl Into<String>) -> Self {
        Self { status: text.into(), ..Self::default() }
    }

    /// The last line of what has failed after it began: the status of the answer is 200 by then.
    #[must_use]
    pub fn error(failure: &Failure) -> Self {
        let (_, body) = crate::error::response(failure);
        Self::broken(&body.message)
    }

    /// The same of one line of text.
    #[must_use]
    pub fn broken(message: &str) -> Self {
        Self {
            error: message.to_owned(),
            error_detail: Some(ErrorDetail { code: 0, message: message.to_owned() }),
            ..Self::default()
        }
    }

    /// The last line of a build whose command failed: its exit code becomes the client's.
    #[must_use]
    pub fn command_failed(command: &str, code: i32) -> Self {
        let message = format!("The command '{command}' returned a non-zero code: {code}");
        let error_detail = Some(ErrorDetail { code, message: message.clone() });
        Self { error: message, error_detail, ..Self::default() }
    }

    /// What programs read of a pushed tag.
    #[must_use]
    pub fn pushed(image: &PushedImage) -> Self {
        let aux = json!({"Tag": image.tag, "Digest": image.digest, "Size": image.size});
        Self { detail: Some(Detail::default()), aux: Some(aux), ..Self::default() }
    }

    /// What programs read of a built image.
    #[must_use]
    pub fn built(id: &str) -> Self {
        Self { aux: Some(json!({ "ID": id })), ..Self::default() }
    }

    /// As one line with its end.
    #[must_use]
    pub fn line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.extend_from_slice(b"\r\n");
        line
    }
}

impl From<&TransferProgress> for Message {
    fn from(progress: &TransferProgress) -> Self {
        let detail = Detail { current: progress.current, total: progress.total };
        // `latest: Pulling from library/busybox` is about a tag, not about a layer.
        let is_layer =
            progress.id.len() == 12 && progress.id.bytes().all(|byte| byte.is_ascii_hexdigit());
        Self {
            status: progress.status.clone(),
            detail: is_layer.then_some(detail),
            progress: if is_layer { picture(detail) } else { String::new() },
            id: progress.id.clone(),
            ..Self::default()
        }
    }
}

/// `[=====>     ]  1.2MB/3.4MB`, as wide as where nobody knows the terminal's width.
fn picture(detail: Detail) -> String {
    const WIDTH: usize = 50;
    let Detail { current, total } = detail;
    if current == 0 && total == 0 {
        return String::new();
    }
    let now = size::precise(current);
    if total == 0 || current > total {
        return format!("{now:>8}");
    }
    let done = u128::from(current) * 100 / u128::from(total) / 2;
    let done = usize::try_from(done).unwrap_or(WIDTH);
    let bar = format!("[{}>{}]", "=".repeat(done), " ".repeat(WIDTH.saturating_sub(done)));
    format!("{bar} {now:>8}/{}", size::precise(total))
}

#[cfg(test)]
mod tests {
    use linkspan_proto::error::ErrorCode;

    use super::*;

    fn shown(id: &str, status: &str, current: u64, total: u64) -> Value {
        let progress = TransferProgress { id: id.into(), status: status.into(), current, total };
        serde_json::to_value(Message::from(&progress)).unwrap()
    }

    #[test]
    fn a_layer_has_a_detail_and_the_whole_has_none() {
        assert_eq!(
            shown("0123456789ab", "Downloading", 1_234_567, 4_000_000),
            json!({
                "status": "Downloading", "id": "0123456789ab",
                "progressDetail": {"current": 1_234_567, "total": 4_000_000},
                "progress": "[===============>                                   ]  1.235MB/4MB",
            })
        );
        assert_eq!(
            shown("0123456789ab", "Pull complete", 0, 0),
            json!({"status": "Pull complete", "progressDetail": {}, "id": "0123456789ab"})
        );
        assert_eq!(shown("0123456789ab", "Extracting", 5, 0)["progress"], "      5B");
        assert_eq!(
            shown("latest", "Pulling from library/busybox", 0, 0),
            json!({"status": "Pulling from library/busybox", "id": "latest"})
        );
        assert_eq!(shown("", "Digest: x", 0, 0), json!({"status": "Digest: x"}));
    }

    #[test]
    fn other_lines_have_dockers_shape() {
        let failure = Failure::new(ErrorCode::NotFound, "manifest unknown");
        let line = String::from_utf8(Message::error(&failure).line()).unwrap();
        assert_eq!(
            line,
            "{\"errorDetail\":{\"message\":\"manifest unknown\"},\"error\":\"manifest unknown\"}\r\n"
        );
        let image = PushedImage { tag: "latest".into(), digest: "sha256:1".into(), size: 5 };
        assert_eq!(
            serde_json::to_value(Message::pushed(&image)).unwrap(),
            json!({"progressDetail": {}, "aux": {"Tag": "latest", "Digest": "sha256:1", "Size": 5}})
        );
        assert_eq!(serde_json::to_value(Message::stream("x\n")).unwrap(), json!({"stream": "x\n"}));
        let failed = Message::command_failed("/bin/sh -c false", 1);
        let why = "The command '/bin/sh -c false' returned a non-zero code: 1";
        assert_eq!(
            String::from_utf8(failed.line()).unwrap(),
            format!(
                "{{\"errorDetail\":{{\"code\":1,\"message\":\"{why}\"}},\"error\":\"{why}\"}}\r\n"
            )
        );
        assert_eq!(serde_json::to_value(Message::built("x")).unwrap(), json!({"aux": {"ID": "x"}}));
    }
}

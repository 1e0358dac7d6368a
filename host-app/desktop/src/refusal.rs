//! How a failure crosses to the pages: as an encoded `linkspan.v1.ErrorInfo`.

use linkspan_client::Failure;
use linkspan_proto::{error::ErrorCode, v1::ErrorInfo};
use prost::Message as _;
use serde::Serialize;

/// The bytes; in JavaScript an array of numbers.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub(crate) struct Refusal(Vec<u8>);

impl Refusal {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// A fault of the pages, or of this program.
    pub(crate) fn misuse(what: impl Into<String>) -> Self {
        Failure::new(ErrorCode::InvalidArgument, what).into()
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self(ErrorInfo::from(failure).encode_to_vec())
    }
}

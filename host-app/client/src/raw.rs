//! Calls whose messages are bytes: for a caller that has its own types of the contract, such as
//! the pages of the desktop app.

use bytes::{Buf as _, BufMut as _, Bytes};
use futures::Stream;
use http::uri::PathAndQuery;
use linkspan_proto::error::{ErrorCode, Failure};
use tonic::{
    Request, Status, Streaming,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

use crate::{calls::Wire, failure};

/// Any call of one machine, or of the daemon itself. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RawCalls(pub(crate) Grpc<Wire>);

impl RawCalls {
    /// One encoded message there, one back. `path` as gRPC names it: `/package.Service/Method`.
    ///
    /// # Errors
    /// What the call fails with; `InvalidArgument` for a path that is none.
    pub async fn unary(mut self, path: &str, message: Bytes) -> Result<Bytes, Failure> {
        let path = parse(path)?;
        self.ready().await?;
        let answer = self.0.unary(Request::new(message), path, Raw).await;
        answer.map(tonic::Response::into_inner).map_err(failure)
    }

    /// Any number of encoded messages each way. The call is broken off when the answer is dropped.
    ///
    /// # Errors
    /// As [`Self::unary`], for what fails before the first message comes back.
    pub async fn streaming(
        mut self,
        path: &str,
        messages: impl Stream<Item = Bytes> + Send + 'static,
    ) -> Result<Streaming<Bytes>, Failure> {
        let path = parse(path)?;
        self.ready().await?;
        let answer = self.0.streaming(Request::new(messages), path, Raw).await;
        answer.map(tonic::Response::into_inner).map_err(failure)
    }

    async fn ready(&mut self) -> Result<(), Failure> {
        self.0
            .ready()
            .await
            .map_err(|error| failure(Status::unavailable(crate::calls::chain(&error))))
    }
}

fn parse(path: &str) -> Result<PathAndQuery, Failure> {
    path.parse().map_err(|_| {
        let what = format!("`{}` is not the path of a call", path.escape_debug());
        Failure::new(ErrorCode::InvalidArgument, what)
    })
}

/// Messages as they are on the wire.
#[derive(Debug, Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

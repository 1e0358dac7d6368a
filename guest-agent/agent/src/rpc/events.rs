//! `linkspan.v1.EventService`.

use std::pin::Pin;

use futures::{Stream, stream};
use linkspan_containers::events::{EventFilters, Heard};
use linkspan_proto::v1::{self as wire, event_service_server::EventService, events_response};
use tonic::{Request, Response, Status};

use super::{Guest, containers::refuse, convert};

/// The service.
pub(super) struct Face(pub(super) Guest);

#[tonic::async_trait]
impl EventService for Face {
    type EventsStream = Pin<Box<dyn Stream<Item = Result<wire::EventsResponse, Status>> + Send>>;

    async fn events(
        &self,
        request: Request<wire::EventsRequest>,
    ) -> Result<Response<Self::EventsStream>, Status> {
        let request = request.into_inner();
        let filters = EventFilters::parse(&request.filters).map_err(refuse)?;
        let since = convert::bound(request.since_unix_nanos).map_err(refuse)?;
        let until = convert::bound(request.until_unix_nanos).map_err(refuse)?;
        let listener = self.0.containers.events().listen(filters, since, until);
        Ok(Response::new(Box::pin(stream::unfold(listener, |mut listener| async {
            let heard = listener.next().await?;
            Some((Ok(wire::EventsResponse { kind: Some(encode(heard)) }), listener))
        }))))
    }
}

fn encode(heard: Heard) -> events_response::Kind {
    match heard {
        Heard::Missed(count) => events_response::Kind::Missed(count),
        Heard::Event(event) => events_response::Kind::Event(wire::Event {
            unix_nanos: convert::nanos(event.time),
            r#type: event.kind.into(),
            action: event.action.clone(),
            actor_id: event.id.clone(),
            attributes: event.attributes.clone().into_iter().collect(),
        }),
    }
}

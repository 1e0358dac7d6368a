//! `linkspan.v1.PortService`, and the wire's ports.

use std::{net::IpAddr, pin::Pin};

use futures::{Stream, StreamExt as _};
use linkspan_containers::ports::{Port, PortConfig, PortMapping, Protocol, PublishedPort};
use linkspan_proto::{
    error::{ErrorCode, Failure},
    v1::{self as wire, PortAnswer, PortOrder, port_service_server::PortService},
};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::Guest;
use crate::failure::of_container;

/// The service.
pub(super) struct Face(pub(super) Guest);

#[tonic::async_trait]
impl PortService for Face {
    type ServeStream = Pin<Box<dyn Stream<Item = Result<PortOrder, Status>> + Send>>;

    async fn serve(
        &self,
        request: Request<Streaming<PortAnswer>>,
    ) -> Result<Response<Self::ServeStream>, Status> {
        let orders = self.0.ports.serve(request.into_inner());
        Ok(Response::new(Box::pin(UnboundedReceiverStream::new(orders).map(Ok))))
    }
}

fn invalid(why: String) -> Failure {
    Failure::new(ErrorCode::InvalidArgument, why)
}

fn number(number: u32) -> Result<u16, Failure> {
    u16::try_from(number).map_err(|_| invalid(format!("there is no port {number}")))
}

fn address(text: &str) -> Result<IpAddr, Failure> {
    text.parse().map_err(|error| invalid(format!("`{text}` is not an address: {error}")))
}

fn port(from: u32, protocol: wire::PortProtocol) -> Result<Port, Failure> {
    let protocol = match protocol {
        wire::PortProtocol::Tcp => Protocol::Tcp,
        wire::PortProtocol::Udp => Protocol::Udp,
    };
    match number(from)? {
        0 => Err(invalid("a container has no port 0".into())),
        number => Ok(Port { number, protocol }),
    }
}

fn protocol_to_wire(protocol: Protocol) -> i32 {
    match protocol {
        Protocol::Tcp => wire::PortProtocol::Tcp,
        Protocol::Udp => wire::PortProtocol::Udp,
    }
    .into()
}

/// What a container asks for.
pub(super) fn config(
    published: &[wire::PortMapping],
    exposed: &[String],
    publish_all: bool,
) -> Result<PortConfig, Failure> {
    let mapping = |wish: &wire::PortMapping| -> Result<PortMapping, Failure> {
        let ip = Some(wish.host_ip.as_str()).filter(|ip| !ip.is_empty());
        let (first, last) = (number(wish.host_port)?, number(wish.host_port_last)?);
        Ok(PortMapping {
            host_ip: ip.map(address).transpose()?,
            host_ports: (first != 0).then_some((first, last.max(first))),
            port: port(wish.container_port, wish.protocol())?,
        })
    };
    let exposed = exposed.iter().map(|text| text.parse().map_err(|error| of_container(&error)));
    Ok(PortConfig {
        published: published.iter().map(mapping).collect::<Result<_, _>>()?,
        exposed: exposed.collect::<Result<_, _>>()?,
        publish_all,
    })
}

pub(crate) fn mapping_to_wire(wish: &PortMapping) -> wire::PortMapping {
    let (first, last) = wish.host_ports.unwrap_or_default();
    wire::PortMapping {
        host_ip: wish.host_ip.map(|ip| ip.to_string()).unwrap_or_default(),
        host_port: first.into(),
        host_port_last: last.into(),
        container_port: wish.port.number.into(),
        protocol: protocol_to_wire(wish.port.protocol),
    }
}

pub(super) fn published_to_wire(port: &PublishedPort) -> wire::PublishedPort {
    wire::PublishedPort {
        host_ip: port.host_ip.to_string(),
        host_port: port.host_port.into(),
        container_port: port.port.number.into(),
        protocol: protocol_to_wire(port.port.protocol),
    }
}

/// What the host says that it opened.
///
/// # Errors
/// When that makes no sense.
pub(crate) fn published(ports: &[wire::PublishedPort]) -> Result<Vec<PublishedPort>, Failure> {
    let one = |it: &wire::PublishedPort| {
        Ok(PublishedPort {
            host_ip: address(&it.host_ip)?,
            host_port: number(it.host_port)?,
            port: port(it.container_port, it.protocol())?,
        })
    };
    ports.iter().map(one).collect()
}

//! Published ports: what an agent orders is opened on this host, and each connection becomes a
//! byte stream into the guest.

use std::{
    io,
    net::{AddrParseError, IpAddr},
    sync::{Arc, Weak},
};

use async_trait::async_trait;
use linkspan_agent_client::AgentChannel;
use linkspan_forward::{Connect, Mapping, Ports, Protocol, PublishError, Published, Target};
use linkspan_proto::{
    connection::Connection,
    error::{ErrorCode, Failure},
    preface::{Kind, Preface},
    v1::{
        PortAnswer, PortMapping, PortOrder, PortProtocol, PortTarget, PublishPorts, PublishedPort,
        port_order,
    },
};
use linkspan_state::MachineName;
use linkspan_transport::BoxStream;
use prost::Message as _;
use tokio::{io::AsyncWriteExt as _, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::{companion::Companion, fleet::Fleet};

/// Opens streams to the ports of one machine's containers.
pub(crate) struct Guest {
    pub(crate) fleet: Weak<Fleet>,
    pub(crate) machine: MachineName,
}

#[async_trait]
impl Connect for Guest {
    async fn connect(&self, target: &Target) -> io::Result<BoxStream> {
        let agent = self.fleet.upgrade().and_then(|fleet| fleet.running_agent(&self.machine));
        let agent = agent.ok_or_else(|| {
            let name = &self.machine;
            io::Error::new(io::ErrorKind::NotConnected, format!("machine `{name}` does not run"))
        })?;
        let mut stream = agent.open_stream().await.map_err(io::Error::other)?;
        let preface = Preface { kind: Kind::Port, id: uuid::Uuid::new_v4().into_bytes() };
        let mut head = preface.encode().to_vec();
        head.extend(wire_target(target).encode_length_delimited_to_vec());
        stream.write_all(&head).await?;
        Ok(match target.protocol {
            Protocol::Tcp => Box::pin(Connection::new(stream)),
            Protocol::Udp => stream,
        })
    }
}

/// Carries out what one machine's agent orders.
pub(crate) struct Publisher {
    pub(crate) machine: MachineName,
    pub(crate) ports: Arc<Ports>,
}

#[async_trait]
impl Companion for Publisher {
    fn name(&self) -> &'static str {
        "ports"
    }

    async fn accompany(&mut self, agent: &AgentChannel) -> Result<(), Status> {
        let (answers, receiver) = mpsc::channel(16);
        let mut orders = agent.ports().serve(ReceiverStream::new(receiver)).await?.into_inner();
        while let Some(PortOrder { id, kind }) = orders.message().await? {
            let result = self.carry_out(kind).await;
            let (ports, error) = match result {
                Ok(ports) => (ports.into_iter().map(wire_published).collect(), None),
                Err(failure) => (Vec::new(), Some(failure.into())),
            };
            if answers.send(PortAnswer { id, ports, error }).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    async fn part(&mut self) {
        self.ports.retain(&[]).await;
    }
}

impl Publisher {
    async fn carry_out(&self, order: Option<port_order::Kind>) -> Result<Vec<Published>, Failure> {
        match order {
            Some(port_order::Kind::Sync(sync)) => {
                self.sync(&sync.publications).await;
                Ok(Vec::new())
            }
            Some(port_order::Kind::Publish(order)) => self.publish(&order).await,
            Some(port_order::Kind::Withdraw(order)) => {
                self.ports.withdraw(&order.container_id).await;
                Ok(Vec::new())
            }
            None => Err(Failure::new(
                ErrorCode::Unsupported,
                "the agent orders something that this daemon does not know",
            )),
        }
    }

    /// What is open stays open: its connections may have survived the loss of the agent's.
    async fn sync(&self, wanted: &[PublishPorts]) {
        let keep: Vec<_> = wanted.iter().map(|order| order.container_id.as_str()).collect();
        self.ports.retain(&keep).await;
        for order in wanted {
            if self.ports.published(&order.container_id).is_some() {
                continue;
            }
            if let Err(failure) = self.publish(order).await {
                tracing::warn!(
                    machine = %self.machine,
                    container = %order.container_name,
                    error = %failure.message,
                    "the ports of a container that runs cannot be published again"
                );
            }
        }
    }

    async fn publish(&self, order: &PublishPorts) -> Result<Vec<Published>, Failure> {
        let mappings: Vec<_> = order.mappings.iter().map(mapping).collect::<Result<_, _>>()?;
        let published = self.ports.publish(&order.container_id, &order.container_name, &mappings);
        published.await.map_err(refused)
    }
}

fn refused(error: PublishError) -> Failure {
    let (code, hint) = match &error {
        PublishError::Taken { container, .. } => (
            ErrorCode::InUse,
            format!("stop `{container}`, or publish another port: -p HOST_PORT:CONTAINER_PORT"),
        ),
        PublishError::RangeTaken { .. } => (ErrorCode::InUse, "publish another range".into()),
        PublishError::Listen { source, .. } => match source.kind() {
            io::ErrorKind::AddrInUse => (
                ErrorCode::InUse,
                "end the program that listens there, or publish another port: -p HOST_PORT:CONTAINER_PORT"
                    .into(),
            ),
            io::ErrorKind::PermissionDenied => (
                ErrorCode::PermissionDenied,
                "publish a port from 1024 on: the lower ones are for administrators".into(),
            ),
            io::ErrorKind::AddrNotAvailable => {
                (ErrorCode::InvalidArgument, "name an address that this host has".into())
            }
            _ => (ErrorCode::Internal, String::new()),
        },
    };
    let failure = Failure::new(code, error.to_string());
    if hint.is_empty() { failure } else { failure.hint(hint) }
}

fn mapping(wire: &PortMapping) -> Result<Mapping, Failure> {
    let port = |number: u32| {
        u16::try_from(number).map_err(|_| {
            Failure::new(ErrorCode::InvalidArgument, format!("there is no port {number}"))
        })
    };
    let host_ip = match wire.host_ip.as_str() {
        "" => None,
        ip => Some(ip.parse::<IpAddr>().map_err(|error: AddrParseError| {
            Failure::new(
                ErrorCode::InvalidArgument,
                format!("cannot publish a port on `{ip}`: {error}"),
            )
        })?),
    };
    let (first, last) = (port(wire.host_port)?, port(wire.host_port_last)?);
    Ok(Mapping {
        host_ip,
        host_ports: (first != 0).then(|| first..=last.max(first)),
        container_port: port(wire.container_port)?,
        protocol: match wire.protocol() {
            PortProtocol::Tcp => Protocol::Tcp,
            PortProtocol::Udp => Protocol::Udp,
        },
    })
}

fn wire_protocol(protocol: Protocol) -> i32 {
    match protocol {
        Protocol::Tcp => PortProtocol::Tcp,
        Protocol::Udp => PortProtocol::Udp,
    }
    .into()
}

fn wire_target(target: &Target) -> PortTarget {
    PortTarget {
        container_id: target.container_id.clone(),
        port: target.port.into(),
        protocol: wire_protocol(target.protocol),
    }
}

pub(crate) fn wire_published(port: Published) -> PublishedPort {
    PublishedPort {
        host_ip: port.address.ip().to_string(),
        host_port: port.address.port().into(),
        container_port: port.container_port.into(),
        protocol: wire_protocol(port.protocol),
    }
}

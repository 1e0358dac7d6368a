//! Connections: names to addresses, TCP, the tunnel of a proxy, TLS.
//!
//! Names are resolved by the C library (on a thread of tokio's). That works in a static program
//! too: since version 2.34, glibc has its `files` and `dns` sources built in.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use http::header::HeaderValue;
use hyper::rt::ReadBufCursor;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, Error as TlsError, InvalidMessage};

use crate::settings::{host_of, is_loopback};

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("cannot resolve `{host}`")]
    Resolve { host: String, source: io::Error },
    #[error("cannot connect to {address}")]
    Tcp { address: String, source: io::Error },
    #[error("proxy `{proxy}` does not connect to {target}: {why}")]
    Proxy { proxy: String, target: String, why: String },
    #[error("the TLS handshake with `{host}` failed")]
    Tls { host: String, source: io::Error },
    #[error("`{host}` gave an HTTP response to an HTTPS client")]
    NoTls { host: String },
    #[error("`{uri}` cannot be connected to: {why}")]
    Uri { uri: String, why: &'static str },
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// What hyper's client connects with.
#[derive(Clone)]
pub(crate) struct Connector {
    pub(crate) tls: Arc<ClientConfig>,
    /// For proxies that speak HTTPS themselves: always checked.
    pub(crate) proxy_tls: Arc<ClientConfig>,
    pub(crate) proxies: Arc<Matcher>,
    pub(crate) loopback_at: Option<IpAddr>,
    pub(crate) timeout: Duration,
}

/// A connection, with or without TLS.
pub(crate) struct Connect {
    io: TokioIo<Box<dyn Stream>>,
    /// Requests name the whole address, for the proxy at the other end.
    through_proxy: bool,
}

/// The proxy for this address with its authorization, if it is reached through one.
pub(crate) fn proxy_of(matcher: &Matcher, uri: &Uri) -> Option<(Uri, Option<HeaderValue>)> {
    if uri.host().is_none_or(|host| is_loopback(host_of(host))) {
        return None;
    }
    let intercept = matcher.intercept(uri)?;
    Some((intercept.uri().clone(), intercept.basic_auth().cloned()))
}

fn host_and_port(uri: &Uri) -> Result<(String, u16), ConnectError> {
    let fail = |why| ConnectError::Uri { uri: uri.to_string(), why };
    let host = uri.host().ok_or_else(|| fail("it has no host"))?;
    let port = match (uri.port_u16(), uri.scheme_str()) {
        (Some(port), _) => port,
        (None, Some("https")) => 443,
        (None, Some("http")) => 80,
        _ => return Err(fail("it is neither http nor https")),
    };
    Ok((host_of(host).to_owned(), port))
}

impl Connector {
    async fn connect(self, uri: Uri) -> Result<Connect, ConnectError> {
        let (host, port) = host_and_port(&uri)?;
        let https = uri.scheme_str() == Some("https");
        let proxy = proxy_of(&self.proxies, &uri);
        let mut io: Box<dyn Stream> = match &proxy {
            None => Box::new(self.tcp(&host, port).await?),
            Some((proxy, authorization)) => {
                let (proxy_host, proxy_port) = host_and_port(proxy)?;
                let mut io: Box<dyn Stream> = Box::new(self.tcp(&proxy_host, proxy_port).await?);
                if proxy.scheme_str() == Some("https") {
                    io = self.handshake(io, &self.proxy_tls, &proxy_host).await?;
                }
                if https {
                    let target =
                        if host.contains(':') { format!("[{host}]") } else { host.clone() };
                    let target = format!("{target}:{port}");
                    let tunnel = tunnel(&mut io, &target, authorization.as_ref());
                    let opened = match tokio::time::timeout(self.timeout, tunnel).await {
                        Ok(opened) => opened,
                        Err(_) => Err("it does not answer".into()),
                    };
                    opened.map_err(|why| ConnectError::Proxy { proxy: proxy_host, target, why })?;
                }
                io
            }
        };
        if https {
            io = self.handshake(io, &self.tls, &host).await?;
        }
        Ok(Connect { io: TokioIo::new(io), through_proxy: proxy.is_some() && !https })
    }

    /// Each address of the host in turn.
    async fn tcp(&self, host: &str, port: u16) -> Result<TcpStream, ConnectError> {
        let mut last = None;
        for address in self.addresses(host, port).await? {
            let stream = match tokio::time::timeout(self.timeout, TcpStream::connect(address)).await
            {
                Ok(stream) => stream,
                Err(_) => Err(io::ErrorKind::TimedOut.into()),
            };
            match stream.and_then(|stream| stream.set_nodelay(true).map(|()| stream)) {
                Ok(stream) => return Ok(stream),
                Err(source) => {
                    last = Some(ConnectError::Tcp { address: address.to_string(), source });
                }
            }
        }
        Err(last.unwrap_or_else(|| ConnectError::Resolve {
            host: host.to_owned(),
            source: io::Error::new(io::ErrorKind::NotFound, "it has no address"),
        }))
    }

    async fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, ConnectError> {
        let mut addresses: Vec<SocketAddr> = if is_loopback(host) {
            // `localhost` is not asked of a name server (RFC 6761, section 6.3).
            let all = ["127.0.0.1", "::1"].map(str::parse::<IpAddr>);
            let given = host.parse::<IpAddr>().ok();
            given
                .into_iter()
                .chain(all.into_iter().flatten().filter(|_| given.is_none()))
                .map(|address| SocketAddr::new(address, port))
                .collect()
        } else {
            tokio::net::lookup_host((host, port))
                .await
                .map_err(|source| ConnectError::Resolve { host: host.to_owned(), source })?
                .collect()
        };
        if let Some(there) = self.loopback_at {
            for address in &mut addresses {
                if address.ip().is_loopback() {
                    address.set_ip(there);
                }
            }
            addresses.dedup();
        }
        Ok(addresses)
    }

    async fn handshake(
        &self,
        io: Box<dyn Stream>,
        config: &Arc<ClientConfig>,
        host: &str,
    ) -> Result<Box<dyn Stream>, ConnectError> {
        let fail = |source| ConnectError::Tls { host: host.to_owned(), source };
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| fail(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
        let handshake = TlsConnector::from(config.clone()).connect(name, io);
        match tokio::time::timeout(self.timeout, handshake).await {
            Ok(Ok(stream)) => Ok(Box::new(stream)),
            Ok(Err(error)) if is_no_tls(&error) => {
                Err(ConnectError::NoTls { host: host.to_owned() })
            }
            Ok(Err(error)) if is_about_trust(&error) => Err(fail(error)),
            Ok(Err(source)) => Err(ConnectError::Tcp { address: host.to_owned(), source }),
            Err(_) => {
                let source = io::ErrorKind::TimedOut.into();
                Err(ConnectError::Tcp { address: host.to_owned(), source })
            }
        }
    }
}

/// Did something else than TLS answer?
fn is_no_tls(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>());
    matches!(inner, Some(TlsError::InvalidMessage(InvalidMessage::InvalidContentType)))
}

/// Did the handshake fail, and not the connection under it?
fn is_about_trust(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<TlsError>())
}

/// Asks a proxy for a tunnel (RFC 9110, section 9.3.6).
async fn tunnel(
    io: &mut Box<dyn Stream>,
    target: &str,
    authorization: Option<&HeaderValue>,
) -> Result<(), String> {
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n").into_bytes();
    if let Some(value) = authorization {
        request.extend_from_slice(b"Proxy-Authorization: ");
        request.extend_from_slice(value.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    io.write_all(&request).await.map_err(|error| error.to_string())?;
    // Byte by byte: what follows the head belongs to the tunnel.
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() > 16 * 1024 {
            return Err("its answer has no end".into());
        }
        head.push(io.read_u8().await.map_err(|error| error.to_string())?);
    }
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line).into_owned();
    let status = line.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1));
    match status {
        Some(status) if status.len() == 3 && status.starts_with('2') => Ok(()),
        _ => Err(format!("it answered `{line}`")),
    }
}

impl tower_service::Service<Uri> for Connector {
    type Response = Connect;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Connect, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

impl Connection for Connect {
    fn connected(&self) -> Connected {
        Connected::new().proxy(self.through_proxy)
    }
}

impl hyper::rt::Read for Connect {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl hyper::rt::Write for Connect {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

//! The way to the broker: TCP, TLS, a Unix socket, a web socket.

use std::sync::Arc;

use async_tungstenite::{
    tokio::{TokioAdapter, client_async_with_config},
    tungstenite::{client::IntoClientRequest, http::HeaderValue, protocol::WebSocketConfig},
};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use ws_stream_tungstenite::WsStream;

use super::{
    error::{ConnectError, tls_cause},
    url::{BrokerUrl, Scheme},
};

/// Largest packet that a broker is told to send over a web socket, where a frame is read as a whole.
pub const MAX_WEBSOCKET_PACKET_BYTES: u32 = 16 << 20;
/// Largest frame taken; MQTT 3.1.1 knows no limit, so this is what ends such a connection.
const MAX_WEBSOCKET_FRAME_BYTES: usize = 64 << 20;

/// A connection's bytes.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Opens the way to `url`; `tls` is there where it is encrypted.
pub async fn open(url: &BrokerUrl, tls: Option<Arc<rustls::ClientConfig>>) -> Result<Box<dyn Stream>, ConnectError> {
    match url.scheme {
        Scheme::Unix => Ok(Box::new(UnixStream::connect(&url.address).await.map_err(|why| unreachable(&why))?)),
        Scheme::Mqtt => Ok(Box::new(tcp(&url.address, url.port).await?)),
        Scheme::Mqtts => Ok(Box::new(encrypted(&url.address, url.port, tls).await?)),
        Scheme::Ws => {
            let stream = tcp(host(&url.address), url.port).await?;
            Ok(Box::new(web_socket(&url.address, stream).await?))
        }
        Scheme::Wss => {
            let stream = encrypted(host(&url.address), url.port, tls).await?;
            Ok(Box::new(web_socket(&url.address, stream).await?))
        }
    }
}

fn unreachable(why: &dyn std::fmt::Display) -> ConnectError {
    ConnectError::Unreachable(why.to_string())
}

async fn tcp(host: &str, port: u16) -> Result<TcpStream, ConnectError> {
    let stream = TcpStream::connect((host, port)).await.map_err(|why| unreachable(&why))?;
    stream.set_nodelay(true).map_err(|why| unreachable(&why))?;
    Ok(stream)
}

async fn encrypted(
    host: &str,
    port: u16,
    tls: Option<Arc<rustls::ClientConfig>>,
) -> Result<TlsStream<TcpStream>, ConnectError> {
    let Some(config) = tls else { return Err(ConnectError::Tls("it is not configured".into())) };
    let name = ServerName::try_from(host.to_owned()).map_err(|why| ConnectError::Tls(why.to_string()))?;
    let stream = tcp(host, port).await?;
    let connecting = TlsConnector::from(config).connect(name, stream);
    connecting.await.map_err(|why| match tls_cause(&why) {
        Some(tls) => ConnectError::Tls(tls),
        None => unreachable(&why),
    })
}

/// Upgrades a stream to a web socket that speaks MQTT (section 6).
async fn web_socket<S: Stream>(url: &str, stream: S) -> Result<WsStream<TokioAdapter<S>>, ConnectError> {
    let mut request = url.into_client_request().map_err(|why| unreachable(&why))?;
    request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static("mqtt"));
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_WEBSOCKET_FRAME_BYTES))
        .max_frame_size(Some(MAX_WEBSOCKET_FRAME_BYTES));
    let (socket, _) = client_async_with_config(request, stream, Some(config)).await.map_err(|why| unreachable(&why))?;
    Ok(WsStream::new(socket))
}

/// The host in the address of a web socket, `ws://host:port/path`; an IPv6 address without its brackets.
fn host(address: &str) -> &str {
    let authority = address.split_once("://").map_or(address, |(_, rest)| rest);
    let authority = authority.split(['/', '?', '#']).next().unwrap_or(authority);
    match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, _)) => host,
        None => authority.split(':').next().unwrap_or(authority),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_found_in_a_web_sockets_address() {
        for (address, expected) in
            [("ws://broker:80/", "broker"), ("wss://b.example:9001/mqtt?x=1", "b.example"), ("ws://[::1]:80/", "::1")]
        {
            assert_eq!(host(address), expected);
        }
    }
}

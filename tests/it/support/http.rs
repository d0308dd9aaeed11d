//! Just enough HTTP for the daemon's Unix socket and for QuestDB.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use serde_json::Value;

const TIMEOUT: Duration = Duration::from_secs(30);

/// Status code and body.
#[derive(Debug)]
pub struct Response {
    /// HTTP status code.
    pub code: u16,
    /// Status line and header lines.
    pub head: String,
    /// The body.
    pub body: String,
}

impl Response {
    /// The body as JSON, null when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }
}

/// One request over a Unix socket.
pub fn unix(socket: &Path, method: &str, target: &str, body: &str) -> std::io::Result<Response> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    exchange(stream, method, target, "", body)
}

/// One GET request over TCP on the loopback; `login` is `user:password`.
pub fn get(port: u16, target: &str, login: Option<&str>) -> std::io::Result<Response> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    let header =
        login.map(|login| format!("Authorization: Basic {}\r\n", base64(login.as_bytes()))).unwrap_or_default();
    exchange(stream, "GET", target, &header, "")
}

/// One POST request over TCP on the loopback, with header lines that each end with a line break.
pub fn post(port: u16, target: &str, headers: &str, body: &str) -> std::io::Result<Response> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    exchange(stream, "POST", target, headers, body)
}

/// One GET request over TCP on the loopback for a media type.
pub fn get_accepting(port: u16, target: &str, accept: &str) -> std::io::Result<Response> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    exchange(stream, "GET", target, &format!("Accept: {accept}\r\n"), "")
}

fn exchange(
    mut stream: impl Read + Write,
    method: &str,
    target: &str,
    headers: &str,
    body: &str,
) -> std::io::Result<Response> {
    let length = body.len();
    let request = format!(
        "{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes())?;
    read_response(&mut stream)
}

fn read_response(stream: &mut impl Read) -> std::io::Result<Response> {
    let bad = |what: &str| std::io::Error::new(std::io::ErrorKind::InvalidData, what.to_owned());
    let mut bytes = Vec::new();
    let mut chunk = [0; 16 * 1024];
    loop {
        let complete = head_end(&bytes).is_some_and(|end| is_complete(&bytes[..end], &bytes[end..]));
        if complete {
            break;
        }
        match stream.read(&mut chunk)? {
            0 => break,
            n => bytes.extend_from_slice(&chunk[..n]),
        }
    }
    let end = head_end(&bytes).ok_or_else(|| bad("no HTTP response"))?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let code =
        head.split_whitespace().nth(1).and_then(|code| code.parse().ok()).ok_or_else(|| bad("no status code"))?;
    let body = if is_chunked(&head) { unchunk(&bytes[end..]) } else { bytes[end..].to_vec() };
    Ok(Response { code, head, body: String::from_utf8_lossy(&body).into_owned() })
}

fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|w| w == b"\r\n\r\n").map(|at| at + 4)
}

fn is_chunked(head: &str) -> bool {
    head.to_ascii_lowercase().contains("transfer-encoding: chunked")
}

fn is_complete(head: &[u8], body: &[u8]) -> bool {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    if is_chunked(&head) {
        return body.ends_with(b"0\r\n\r\n");
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")).and_then(|n| n.trim().parse().ok());
    length.map_or_else(|| head.starts_with("http/1.1 204"), |length: usize| body.len() >= length)
}

fn unchunk(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(at) = rest.windows(2).position(|w| w == b"\r\n") {
        let size = usize::from_str_radix(String::from_utf8_lossy(&rest[..at]).trim(), 16).unwrap_or(0);
        let start = at + 2;
        if size == 0 || rest.len() < start + size {
            break;
        }
        body.extend_from_slice(&rest[start..start + size]);
        rest = rest.get(start + size + 2..).unwrap_or_default();
    }
    body
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let word = group.iter().enumerate().fold(0u32, |word, (i, &byte)| word | u32::from(byte) << (16 - 8 * i));
        for digit in 0..4 {
            let sextet = (word >> (18 - 6 * digit)) & 63;
            text.push(if digit <= group.len() { DIGITS[sextet as usize] as char } else { '=' });
        }
    }
    text
}

/// A query string's value, percent-encoded (RFC 3986, section 2.1).
pub fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => (byte as char).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

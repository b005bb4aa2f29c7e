//! Requests to the console byte by byte, so that nothing about them has to be right.

use super::{Field, Trouble};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An answer; at most [`BODY_MAX`] bytes of it are kept.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status, 0 when there was none: the connection was closed without an answer.
    pub status: u16,
    /// Everything that came, head and body.
    pub text: String,
}

impl Answer {
    /// The document in it, if it is one.
    pub fn document(&self) -> Option<serde_json::Value> {
        let (_, body) = self.text.split_once("\r\n\r\n")?;
        serde_json::from_str(body).ok()
    }
}

/// Bytes of an answer that are read.
const BODY_MAX: usize = 4 << 20;
/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Sends a request from an attacker's address.
///
/// # Errors
/// [`Trouble`]: the gate cannot be reached, or refuses what must be accepted.
pub async fn ask(field: &Field, to: SocketAddr, request: &str) -> Result<Answer, Trouble> {
    ask_over(field.tcp(to).await?, request).await
}

/// Sends a request over a connection and reads until the other side closes. The request must contain `Connection:
/// close`.
///
/// # Errors
/// [`Trouble`]: the gate cannot be reached, or refuses what must be accepted.
pub async fn ask_over(mut stream: TcpStream, request: &str) -> Result<Answer, Trouble> {
    let asking = async {
        // A server that refuses at once closes during this write; its answer can be read all the same.
        let _ = stream.write_all(request.as_bytes()).await;
        let (mut came, mut buffer) = (Vec::new(), vec![0; 16 * 1_024]);
        loop {
            match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => return came,
                Ok(read) if came.len() < BODY_MAX => came.extend_from_slice(&buffer[..read]),
                Ok(_) => return came,
            }
        }
    };
    let came = tokio::time::timeout(TIMEOUT, asking).await;
    let came = came.map_err(|_| Trouble("the console does not answer in time".to_owned()))?;
    let text = String::from_utf8_lossy(&came).into_owned();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Ok(Answer { status, text })
}

/// A request like that of a scraper.
pub fn get(path: &str, host: &str, token: Option<&str>) -> String {
    let token = token.map_or(String::new(), |token| format!("Authorization: Bearer {token}\r\n"));
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{token}Connection: close\r\n\r\n")
}

/// An order with a document.
pub fn post(path: &str, host: &str, token: &str, document: &str) -> String {
    let length = document.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{document}"
    )
}

//! A JSON-RPC client over any stream.

use serde_json::{Value as Json, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// A JSON-RPC client that is no more than that.
pub struct Client<S> {
    pub stream: S,
    pub session: String,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub async fn log_in(stream: S) -> Self {
        let mut client = Self { stream, session: String::new() };
        let session = client.raw("session.login_with_password", json!(["root", "xapi-test"])).await;
        session.unwrap()["result"].as_str().unwrap().clone_into(&mut client.session);
        client
    }

    /// Sends a call and reads the answer; nothing when the connection ends before there is a whole one.
    pub async fn raw(&mut self, method: &str, params: Json) -> Option<Json> {
        self.send(method, params).await;
        self.receive().await
    }

    pub async fn send(&mut self, method: &str, params: Json) {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
        let head = format!("POST /jsonrpc HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len());
        self.stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    }

    pub async fn receive(&mut self) -> Option<Json> {
        let mut answer = Vec::new();
        let mut chunk = vec![0; 64 << 10];
        let mut end = None;
        loop {
            if end.is_none()
                && let Some(at) = answer.windows(4).position(|window| window == b"\r\n\r\n")
            {
                let head = String::from_utf8_lossy(&answer[..at]).into_owned();
                let length = head.split("content-length: ").nth(1).unwrap();
                let length: usize = length.lines().next().unwrap().parse().unwrap();
                end = Some((at + 4, at + 4 + length));
            }
            if let Some((start, end)) = end
                && answer.len() >= end
            {
                return Some(serde_json::from_slice(&answer[start..end]).unwrap());
            }
            match self.stream.read(&mut chunk).await {
                Ok(len) if len > 0 => answer.extend_from_slice(&chunk[..len]),
                _ => return None,
            }
        }
    }

    pub async fn call(&mut self, method: &str, params: &[Json]) -> Result<Json, Json> {
        let params = std::iter::once(json!(self.session)).chain(params.iter().cloned()).collect();
        let answer = self.raw(method, Json::Array(params)).await.expect("an answer");
        answer.get("result").cloned().ok_or_else(|| answer["error"].clone())
    }
}

//! A client of a few lines: JSON-RPC, PUT and GET on sockets of their own.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub struct Client {
    address: String,
    session: String,
}

impl Client {
    pub async fn log_in(url: &str) -> Self {
        let address = url.strip_prefix("http://").unwrap().to_owned();
        let client = Self { address, session: String::new() };
        let args = [json!("root"), json!("xapi-test"), json!("1.0"), json!("test")];
        let session = client.send_call("session.login_with_password", args.to_vec()).await.unwrap();
        Self { session: session.as_str().unwrap().to_owned(), ..client }
    }

    /// A call that must succeed.
    pub async fn call(&self, method: &str, args: impl IntoIterator<Item = Value>) -> Value {
        self.try_call(method, args).await.unwrap_or_else(|failure| panic!("{method}: {failure}"))
    }

    /// A call; the failure is the list of code and parameters.
    pub async fn try_call(
        &self,
        method: &str,
        args: impl IntoIterator<Item = Value>,
    ) -> Result<Value, Value> {
        self.send_call(method, std::iter::once(json!(self.session)).chain(args).collect()).await
    }

    /// Sends a call and leaves its answer where it is.
    pub async fn begin_call(&self, method: &str, args: impl IntoIterator<Item = Value>) -> TcpStream {
        self.begin(method, std::iter::once(json!(self.session)).chain(args).collect()).await
    }

    async fn begin(&self, method: &str, params: Vec<Value>) -> TcpStream {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
        let head =
            format!("POST /jsonrpc HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        stream
    }

    async fn send_call(&self, method: &str, params: Vec<Value>) -> Result<Value, Value> {
        let mut stream = self.begin(method, params).await;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let at = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let mut answer: Value = serde_json::from_slice(&answer[at + 4..]).unwrap();
        match answer.get_mut("error") {
            Some(error) => {
                let mut list = vec![error["message"].take()];
                list.extend(error["data"].as_array().cloned().unwrap_or_default());
                Err(Value::Array(list))
            }
            None => Ok(answer["result"].take()),
        }
    }

    /// Uploads the parts one after the other and waits for the end of the connection.
    pub async fn put(&self, path: &str, parts: &[&[u8]]) {
        let len = parts.iter().map(|part| part.len()).sum();
        let mut stream = self.begin_put(path, len).await;
        for part in parts {
            // The server may refuse to read all of it: the task tells why.
            if stream.write_all(part).await.is_err() {
                break;
            }
        }
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
    }

    /// Promises `len` bytes, sends fewer and goes.
    pub async fn put_and_hang_up(&self, path: &str, len: usize, bytes: &[u8]) {
        let mut stream = self.begin_put(path, len).await;
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
    }

    /// Sends the head of an upload.
    pub async fn begin_put(&self, path: &str, len: usize) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        let length =
            if path.contains("chunked") { String::new() } else { format!("Content-Length: {len}\r\n") };
        let head = format!("PUT {path}&session_id={} HTTP/1.1\r\n{length}\r\n", self.session);
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    }

    /// Downloads; the body is handed out as it comes.
    pub async fn download(&self, path: &str, mut take: impl FnMut(&[u8])) {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        let head = format!("GET {path}&session_id={} HTTP/1.1\r\n\r\n", self.session);
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut buffer = vec![0; 1 << 20];
        let mut filled = 0;
        let body = loop {
            filled += stream.read(&mut buffer[filled..]).await.unwrap();
            if let Some(at) = buffer[..filled].windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
        };
        assert!(buffer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&buffer[..body]));
        take(&buffer[body..filled]);
        loop {
            match stream.read(&mut buffer).await.unwrap() {
                0 => return,
                len => take(&buffer[..len]),
            }
        }
    }

    /// Sends a request without a body and returns the head of the answer.
    pub async fn head(&self, verb: &str, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        let head = format!("{verb} {path}&session_id={} HTTP/1.1\r\n\r\n", self.session);
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.windows(4).any(|window| window == b"\r\n\r\n") {
            assert!(stream.read_buf(&mut answer).await.unwrap() > 0);
        }
        String::from_utf8(answer).unwrap()
    }
}

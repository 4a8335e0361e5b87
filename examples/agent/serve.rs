//! The two pages, over HTTP.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use examples::metrics::{self, Chores};
use http_body_util::Full;
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use xenapi_client::Cache;

/// Who scrapes opens one connection or two; more are made to wait.
const CONNECTIONS: usize = 32;
/// How long a request may take to arrive, and a connection may be idle.
const PATIENCE: Duration = Duration::from_secs(30);

/// Answers until it is dropped.
pub(crate) async fn serve(listener: TcpListener, cache: Cache, chores: Arc<Chores>) -> Infallible {
    let cache = Arc::new(cache);
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { std::future::pending().await };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, for one: others will close theirs.
                tracing::warn!(%error, "a connection could not be taken");
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let (cache, chores) = (Arc::clone(&cache), Arc::clone(&chores));
        tokio::spawn(async move {
            let answer = service_fn(move |request| {
                let page = page(request.method(), request.uri().path(), &cache, &chores);
                async move { Ok::<_, Infallible>(page) }
            });
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
            if let Err(error) = http.serve_connection(TokioIo::new(stream), answer).await {
                tracing::debug!(%error, "a connection broke");
            }
            drop(place);
        });
    }
}

/// Whether an agent follows its pool.
pub(crate) async fn check(address: SocketAddr) -> Result<()> {
    match health(address).await? {
        Ok(_) => Ok(()),
        Err(why) => bail!("the agent at {address} is not well: {why}"),
    }
}

/// Asks an agent how it is: what it says when it is well, or why it is not.
pub(crate) async fn health(address: SocketAddr) -> Result<Result<String, String>> {
    let asking = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n").await?;
        let mut answer = String::new();
        stream.take(64 << 10).read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = tokio::time::timeout(Duration::from_secs(5), asking).await;
    let answer = answer.with_context(|| format!("the agent at {address} does not answer"))?;
    let answer = answer.with_context(|| format!("no agent answers at {address}"))?;
    let (head, text) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let text = text.trim().to_owned();
    Ok(if head.starts_with("HTTP/1.1 200 ") { Ok(text) } else { Err(text) })
}

fn page(method: &Method, path: &str, cache: &Cache, chores: &Chores) -> Response<Full<Bytes>> {
    let (status, kind, text) = match (method, path) {
        (&Method::GET, "/metrics") => {
            (StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", metrics::render(cache, chores))
        }
        (&Method::GET, "/healthz") => match metrics::trouble(cache) {
            None => (StatusCode::OK, "text/plain; charset=utf-8", "following\n".to_owned()),
            Some(why) => (StatusCode::SERVICE_UNAVAILABLE, "text/plain; charset=utf-8", why + "\n"),
        },
        (&Method::GET, _) => {
            (StatusCode::NOT_FOUND, "text/plain; charset=utf-8", "/metrics and /healthz\n".to_owned())
        }
        _ => (StatusCode::METHOD_NOT_ALLOWED, "text/plain; charset=utf-8", "GET only\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind.parse().expect("a valid header"));
    response
}

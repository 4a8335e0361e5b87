//! The simulator as a service of HTTP requests: no port, no socket.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tower_service::Service;
use xapi_simulator::Simulator;
use xenapi_client::RequestBody;

/// Each request goes to the simulator on a pipe of its own.
#[derive(Clone)]
pub struct InProcess(pub Arc<Simulator>);

/// An answer, with the pipe that it comes on: dropping it closes the pipe.
pub struct Answer {
    body: Incoming,
    _pipe: Pipe,
}

struct Pipe(tokio::task::JoinHandle<()>);

impl Drop for Pipe {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Service<Request<RequestBody>> for InProcess {
    type Response = Response<Answer>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Answer>, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        let stream = TokioIo::new(self.0.connect());
        Box::pin(async move {
            let (mut head, body) = request.into_parts();
            assert_eq!(
                head.uri.authority().map(http::uri::Authority::as_str),
                Some("simulator"),
                "{}",
                head.uri
            );
            // A server is asked by path.
            let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
            head.uri = path.parse().expect("it was part of a URI");
            let (mut sender, connection) = http1::handshake(stream).await?;
            let pipe = Pipe(tokio::spawn(async move { drop(connection.await) }));
            let response = sender.send_request(Request::from_parts(head, body)).await?;
            Ok(response.map(|body| Answer { body, _pipe: pipe }))
        })
    }
}

impl Body for Answer {
    type Data = bytes::Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<bytes::Bytes>, hyper::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

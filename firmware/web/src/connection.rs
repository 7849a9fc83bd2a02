//! One connection: HTTP/1.1 or HTTP/2, as the handshake agreed, within limits.
//!
//! # Invariants
//! - A connection on which nothing is asked ends after [`HTTP_IDLE_TIMEOUT`], a head that drips after
//!   [`HTTP_HEAD_TIMEOUT`], an answer that nobody takes after `WRITE_TIMEOUT` (D17).
//! - Of an answer that is under way nothing is cut off by the clock of idleness.

use crate::guard::From;
use crate::patient::Patient;
use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::{Request, Response};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use hyper_util::service::TowerToHyperService;
use net::pump::End;
use net::{Shutdown, Stream};
use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};
use wire::limits::{
    HTTP_FIELDS_MAX, HTTP_HEAD_OCTETS_MAX, HTTP_HEAD_TIMEOUT, HTTP_IDLE_TIMEOUT, HTTP2_STREAMS_MAX,
};

/// How long a connection has to end once it was told to and nothing is under way.
const FAREWELL: Duration = Duration::from_secs(5);
/// What an HTTP/2 stream and connection may send ahead. A form fits; an upload gets more as it is read.
const HTTP2_WINDOW_OCTETS: u32 = 64 * 1024;
/// What is kept of an HTTP/2 answer that the peer does not take.
const HTTP2_SEND_OCTETS_MAX: usize = 64 * 1024;

/// Serves a connection to its end.
pub(crate) async fn converse(stream: Stream, peer: IpAddr, router: Router, shutdown: Shutdown) -> End {
    let is_http2 = stream.alpn() == Some(b"h2");
    let activity = Activity::new();
    let io = TokioIo::new(Patient::new(stream));
    let pages = Pages {
        router: TowerToHyperService::new(router),
        peer,
        activity: activity.clone(),
    };
    if is_http2 {
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(HTTP2_STREAMS_MAX)
            .max_header_list_size(u32::try_from(HTTP_HEAD_OCTETS_MAX).expect("it is 16 KiB"))
            .initial_stream_window_size(HTTP2_WINDOW_OCTETS)
            .initial_connection_window_size(HTTP2_WINDOW_OCTETS)
            .max_send_buf_size(HTTP2_SEND_OCTETS_MAX);
        let mut connection = http2.serve_connection(io, pages);
        return drive(&mut connection, &activity, shutdown).await;
    }
    let mut http1 = http1::Builder::new();
    http1
        .timer(TokioTimer::new())
        .header_read_timeout(HTTP_HEAD_TIMEOUT)
        .max_headers(HTTP_FIELDS_MAX)
        .max_buf_size(HTTP_HEAD_OCTETS_MAX);
    let mut connection = http1.serve_connection(io, pages);
    let end = drive(&mut connection, &activity, shutdown).await;
    // So that what was said last, such as 413 to a body that still comes, is not lost to a reset.
    let stream = connection.into_parts().io.into_inner().into_inner();
    stream.close().await;
    end
}

/// Lets the connection run, ends it when it is idle or the service stops.
async fn drive<C>(connection: &mut C, activity: &Activity, mut shutdown: Shutdown) -> End
where
    C: GracefulConnection<Error = hyper::Error> + Unpin,
{
    let mut connection = Pin::new(connection);
    // Once it was told to end: how that is called in the log.
    let mut ending: Option<End> = None;
    let mut look_again = Instant::now() + HTTP_IDLE_TIMEOUT;
    loop {
        tokio::select! {
            ended = connection.as_mut() => return match (ended, ending) {
                (Ok(()), Some(end)) => end,
                (Ok(()), None) => End::Closed,
                (Err(error), _) => end_of(error),
            },
            () = shutdown.requested(), if ending.is_none() => {
                connection.as_mut().graceful_shutdown();
                ending = Some(End::ShutDown);
                look_again = Instant::now() + FAREWELL;
            }
            () = sleep_until(look_again) => {
                let now = Instant::now();
                let allowed = if ending.is_some() { FAREWELL } else { HTTP_IDLE_TIMEOUT };
                look_again = match activity.idle_since() {
                    None => now + allowed,
                    Some(since) if since + allowed > now => since + allowed,
                    Some(_) => {
                        if let Some(end) = ending {
                            return end;
                        }
                        connection.as_mut().graceful_shutdown();
                        ending = Some(End::TimedOut);
                        now + FAREWELL
                    }
                };
            }
        }
    }
}

/// What went wrong, in the words of all protocols.
fn end_of(error: hyper::Error) -> End {
    if error.is_timeout() {
        return End::TimedOut;
    }
    if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        return End::PeerClosed;
    }
    let mut source: Option<&(dyn Error + 'static)> = error.source();
    while let Some(cause) = source {
        match cause.downcast_ref::<io::Error>().map(io::Error::kind) {
            Some(io::ErrorKind::TimedOut) => return End::PeerStalled,
            Some(
                io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe,
            ) => {
                return End::PeerClosed;
            }
            _ => source = cause.source(),
        }
    }
    End::Io(io::Error::other(error))
}

/// Gives each request to the router, with the peer it comes from, and counts those under way.
struct Pages {
    router: TowerToHyperService<Router>,
    peer: IpAddr,
    activity: Activity,
}

impl Service<Request<Incoming>> for Pages {
    type Response = Response<Counted>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(From(self.peer));
        let under_way = self.activity.begin();
        let answered = self.router.call(request);
        Box::pin(async move {
            let response = answered.await?;
            Ok(response.map(|body| Counted {
                body,
                _under_way: under_way,
            }))
        })
    }
}

/// The body of an answer. As long as it lives, its request is under way.
struct Counted {
    body: Body,
    _under_way: UnderWay,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Which requests of a connection are under way.
#[derive(Clone)]
struct Activity(Arc<Mutex<Requests>>);

struct Requests {
    under_way: usize,
    /// When the last of them ended, or the connection began.
    last: Instant,
}

struct UnderWay(Activity);

impl Activity {
    fn new() -> Activity {
        Activity(Arc::new(Mutex::new(Requests {
            under_way: 0,
            last: Instant::now(),
        })))
    }

    fn begin(&self) -> UnderWay {
        self.requests().under_way += 1;
        UnderWay(self.clone())
    }

    /// `None`: it is not idle.
    fn idle_since(&self) -> Option<Instant> {
        let requests = self.requests();
        (requests.under_way == 0).then_some(requests.last)
    }

    fn requests(&self) -> MutexGuard<'_, Requests> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut requests = self.0.requests();
        requests.under_way -= 1;
        requests.last = Instant::now();
    }
}

//! What a connection does, noted for its [`Seat`]: a request's body that does not come ends in an error, and an answer is under way
//! until the last of it was taken from its route.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Body, Bytes};
use hyper::{
    Request, Response,
    body::{Body as HttpBody, Frame, Incoming, SizeHint},
};
use tokio::time::{Instant, Sleep};

use super::{routes::Routes, seats::Seat};

/// Serves a request, noting what the connection waits for.
pub(super) async fn attend(
    routes: &Routes,
    request: Request<Incoming>,
    seat: Arc<Seat>,
    body_timeout: Duration,
) -> Result<Response<Answer>, std::convert::Infallible> {
    seat.head_came();
    let served = Served(Arc::clone(&seat));
    let request = request.map(|body| {
        if body.is_end_stream() {
            return Body::empty();
        }
        Body::new(Awaited { body, seat, limit: body_timeout, deadline: None })
    });
    let response = routes.answer(request).await;
    Ok(response.map(|body| Answer { body, _served: served }))
}

/// From a request's head to the end of its answer.
struct Served(Arc<Seat>);

impl Drop for Served {
    fn drop(&mut self) {
        self.0.head_is_due();
    }
}

/// A request's body, all of which must come within a limit from when it was first waited for.
struct Awaited {
    body: Incoming,
    seat: Arc<Seat>,
    limit: Duration,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl HttpBody for Awaited {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(frame)) => Poll::Ready(Some(frame.map_err(Into::into))),
            Poll::Ready(None) => {
                self.seat.awaits_body(false);
                Poll::Ready(None)
            }
            Poll::Pending => {
                self.seat.awaits_body(true);
                let limit = self.limit;
                let deadline =
                    self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + limit)));
                std::task::ready!(deadline.as_mut().poll(cx));
                let late = format!("the request's body did not come within {} s", limit.as_secs());
                Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::TimedOut, late).into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An answer's body.
pub(super) struct Answer {
    body: Body,
    _served: Served,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

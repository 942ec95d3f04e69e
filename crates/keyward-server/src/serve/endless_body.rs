//! An answer's body that goes on until somebody ends it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use hyper::body::{Bytes, Frame};
use tokio::sync::watch;

use super::connection::Activity;

/// Ends with the service, at once: nobody waits for what has no end. What is read of it until then
/// keeps its connection from being idle; whoever no longer reads loses it.
pub(super) struct EndlessBody {
    body: Body,
    activity: Arc<Activity>,
    closing: Pin<Box<dyn Future<Output = ()> + Send + Sync>>,
}

impl EndlessBody {
    pub(super) fn new(
        body: Body,
        activity: Arc<Activity>,
        mut closing: watch::Receiver<bool>,
    ) -> Self {
        let closing = Box::pin(async move {
            let _closing = closing.wait_for(|closing| *closing).await;
        });
        Self { body, activity, closing }
    }
}

impl hyper::body::Body for EndlessBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.closing.as_mut().poll(context).is_ready() {
            return Poll::Ready(None);
        }
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if frame.is_ready() {
            self.activity.step();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

//! Hints from other nodes, over a connection that does nothing else.

use std::time::Duration;

use futures_util::StreamExt as _;
use redis::{Client, RedisResult};
use tokio::time::sleep;

use super::link::{CONNECT_MAX, ValkeyError, within};

/// Listens on the channel, and calls `hinted` for each hint and once at the start, since what was
/// said before nobody has heard. Returns when the connection is of no use any more.
pub(super) async fn listen(
    client: &Client,
    channel: &str,
    hinted: impl Fn(),
) -> Result<(), ValkeyError> {
    let subscribe = async {
        let mut subscription = client.get_async_pubsub().await?;
        subscription.subscribe(channel).await?;
        RedisResult::Ok(subscription)
    };
    let (mut line, mut messages) = within(CONNECT_MAX, subscribe).await?.split();
    hinted();
    loop {
        tokio::select! {
            message = messages.next() => match message {
                Some(_) => hinted(),
                None => return Ok(()),
            },
            // A server that has vanished says nothing, and neither does one without news.
            () = sleep(SILENCE_MAX) => within(CONNECT_MAX, line.ping()).await?,
        }
    }
}

/// How long nothing may come before the server is asked whether it is there.
const SILENCE_MAX: Duration = Duration::from_secs(5);

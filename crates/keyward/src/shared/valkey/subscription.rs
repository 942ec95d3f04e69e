//! Hints from other nodes, over a connection that does nothing else.

use std::time::Duration;

use futures_util::StreamExt as _;
use redis::aio::PubSub;
use redis::{Client, RedisResult, Value};
use tokio::time::sleep;

use super::link::{CONNECT_MAX, ValkeyError, within};

/// Connects, and subscribes to the channel.
pub(super) async fn begin(client: &Client, channel: &str) -> Result<PubSub, ValkeyError> {
    let subscribe = async {
        let mut subscription = client.get_async_pubsub().await?;
        subscription.subscribe(channel).await?;
        RedisResult::Ok(subscription)
    };
    let begun = within(CONNECT_MAX, subscribe).await;
    begun.map_err(|error| error.of_hints(&format!("SUBSCRIBE {channel}")))
}

/// Begins, and asks once whether the server is there, as [`listen`] does later on.
pub(super) async fn probe(client: &Client, channel: &str) -> Result<(), ValkeyError> {
    let mut subscription = begin(client, channel).await?;
    let ping = async { subscription.ping::<Value>().await?.extract_error() };
    let pong = within(CONNECT_MAX, ping).await.map(drop);
    pong.map_err(|error| error.of_hints("PING"))
}

/// Calls `hinted` for each hint and once at the start, since what was said before nobody has heard.
/// Returns when the connection is of no use any more.
pub(super) async fn listen(subscription: PubSub, hinted: impl Fn()) -> Result<(), ValkeyError> {
    let (mut line, mut messages) = subscription.split();
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

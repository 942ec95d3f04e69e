//! The issuing service over HTTP: its published keys, and its revocations as they happen.

mod exchange;
mod lookups;
mod source;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap};
use keyward_core::access_token::{Claims, claimed_key};
use keyward_core::keys::JWK_SET_BYTES_MAX;
use keyward_core::time::spread;
use tokio::time::{self, Instant};

use crate::clock;
use crate::feed::{Connected, Feed, Garbled};
use crate::refusal::Refusal;
use crate::verifier::Verifier;
use exchange::{Exchange, Trouble};
pub(crate) use lookups::Lookups;
pub use source::{Source, UnfitSource};

impl Verifier {
    /// Keeps the keys fresh and follows the revocations, for as long as the returned future is
    /// polled. It never ends and starts nothing behind your back: run it beside your server, and
    /// drop it to stop.
    ///
    /// What goes wrong is tried again, at growing intervals with jitter, and shown by
    /// [`Verifier::status`]; changes of it are logged.
    pub async fn run(&self, source: &Source) -> Infallible {
        let (never, _) = tokio::join!(self.follow_keys(source), self.follow_feed(source));
        never
    }

    /// Verifies a token as [`Verifier::verify`] does, by the clock of the operating system; where
    /// it names a key that is not known yet, waits until the keys were fetched once more.
    ///
    /// However many tokens wait, they wait for one fetch, and fetches are apart by the cool-down of
    /// the [`Source`]. Without [`Verifier::run`] beside it nobody fetches, and nobody waits.
    ///
    /// # Errors
    ///
    /// [`Refusal`] where the token is not accepted.
    pub async fn authenticate(&self, token: &str) -> Result<Arc<Claims>, Refusal> {
        let verdict = self.verify(token, clock::now());
        if verdict != Err(Refusal::Invalid) {
            return verdict;
        }
        let Some(kid) = self.lacks_key_of(token) else { return verdict };
        self.lookups.look_for(&kid, || self.keys.knows_header_of(token)).await?;
        self.verify(token, clock::now())
    }

    /// The id of the key that a token may be signed with, where that key is not here.
    pub(crate) fn lacks_key_of(&self, token: &str) -> Option<String> {
        claimed_key(token).filter(|_| !self.keys.knows_header_of(token))
    }

    async fn follow_keys(&self, source: &Source) -> Infallible {
        let _running = self.lookups.run();
        let mut pause = Pause::default();
        let mut next = Instant::now();
        let mut may_begin = next;
        loop {
            tokio::select! {
                () = time::sleep_until(next) => {}
                () = self.lookups.wanted() => time::sleep_until(may_begin).await,
            }
            let began = Instant::now();
            may_begin = began + source.cool_down;
            self.lookups.begin();
            let outcome = self.fetch_keys(source).await;
            self.lookups.end(outcome.is_ok());
            let (wait, trouble) = match outcome {
                Ok(max_age) => {
                    pause = Pause::default();
                    (jittered(max_age), None)
                }
                Err(trouble) => (pause.next(), Some(trouble)),
            };
            let trouble = trouble.map(|trouble| trouble.to_string());
            self.troubles.keys.note("the keys cannot be fetched", trouble);
            next = began + wait;
        }
    }

    /// Answers for how long they may be kept.
    async fn fetch_keys(&self, source: &Source) -> Result<Duration, Trouble> {
        let fetch = async {
            // As of before the request: what the answer leaves out may be dropped since.
            let fetched_at = clock::now();
            let mut exchange = Exchange::get(source, &source.keys_path(), None).await?;
            let max_age = max_age(exchange.headers());
            let set = exchange.body(JWK_SET_BYTES_MAX).await?;
            self.take_up_keys(&set, fetched_at)
                .map_err(|_| Trouble::of("the answer is no set of fitting keys"))?;
            Ok(max_age)
        };
        time::timeout(REQUEST_TIMEOUT, fetch).await.unwrap_or_else(|_| Err(Trouble::silence()))
    }

    async fn follow_feed(&self, source: &Source) -> Infallible {
        if !source.has_service_key() {
            std::future::pending::<()>().await;
        }
        let mut feed = Feed::default();
        let mut pause = Pause::default();
        loop {
            let mut was_synced = false;
            let trouble = self.read_feed(source, &mut feed, &mut was_synced).await;
            if was_synced {
                pause = Pause::default();
            }
            self.troubles.feed.note("revocations cannot be followed", Some(trouble.to_string()));
            time::sleep(pause.next()).await;
        }
    }

    /// Reads one connection to its end, and answers why it ended.
    async fn read_feed(&self, source: &Source, feed: &mut Feed, was_synced: &mut bool) -> Trouble {
        let path = source.feed_path();
        let asked_at = clock::now();
        let begin = Exchange::get(source, &path, Some(feed.cursor()));
        let begin = time::timeout(REQUEST_TIMEOUT, begin).await;
        let mut exchange = match begin.unwrap_or_else(|_| Err(Trouble::silence())) {
            Ok(exchange) => exchange,
            Err(trouble) => {
                if trouble.is_bad_request {
                    // It is the cursor that is not understood: nothing else was asked.
                    feed.begin_anew();
                }
                return trouble;
            }
        };
        if !is_event_stream(exchange.headers()) {
            return Trouble::of("the answer is no event stream");
        }
        match self.listen(&mut exchange, feed.connect(asked_at), was_synced).await {
            Ended::Garbled(garbled) => {
                feed.begin_anew();
                Trouble::of(garbled)
            }
            Ended::Lost(trouble) => trouble,
        }
    }

    /// Reads what a connection says. `was_synced` becomes true with its first word that is in time.
    async fn listen(
        &self,
        exchange: &mut Exchange,
        mut connected: Connected<'_>,
        was_synced: &mut bool,
    ) -> Ended {
        let silence_max = self.policy().staleness_max * 3 / 4;
        let mut patience = silence_max;
        loop {
            let piece = match time::timeout(patience, exchange.piece()).await {
                Ok(Ok(Some(piece))) => piece,
                Ok(Ok(None)) => return Ended::Lost(Trouble::of("the service ended the feed")),
                Ok(Err(trouble)) => return Ended::Lost(trouble),
                Err(_) => return Ended::Lost(Trouble::silence()),
            };
            let now = clock::now();
            if let Err(garbled) = connected.read(&piece, now, self.revocations()) {
                return Ended::Garbled(garbled);
            }
            if !connected.is_synced() {
                continue;
            }
            // A word counts from when it was spoken, not from when it came.
            let staleness = self.revocations().staleness(now).unwrap_or_default();
            patience = silence_max.saturating_sub(staleness);
            if patience.is_zero() {
                return Ended::Lost(Trouble::of("what the service says comes too late"));
            }
            if !*was_synced {
                *was_synced = true;
                self.troubles.feed.note("revocations cannot be followed", None);
            }
        }
    }
}

/// Why nothing more is read of a connection.
enum Ended {
    Garbled(Garbled),
    Lost(Trouble),
}

/// How long to wait before the next try: longer each time, and never the same for all.
#[derive(Default)]
struct Pause {
    tries: u32,
}

impl Pause {
    fn next(&mut self) -> Duration {
        let longest = PAUSE_MIN.saturating_mul(1 << self.tries.min(16)).min(PAUSE_MAX);
        self.tries += 1;
        jittered(longest)
    }
}

/// Between half of it and all of it: no secret, any number that differs between processes and calls
/// will do.
fn jittered(longest: Duration) -> Duration {
    use std::hash::{BuildHasher as _, RandomState};
    let [high, low, ..] = RandomState::new().hash_one(0_u8).to_be_bytes();
    spread(longest, u16::from_be_bytes([high, low]))
}

/// What `Cache-Control` allows, within bounds: a removed key must not be trusted for much longer
/// than the service thinks.
fn max_age(headers: &HeaderMap) -> Duration {
    let directives = headers.get(CACHE_CONTROL).and_then(|value| value.to_str().ok());
    let seconds = directives
        .into_iter()
        .flat_map(|text| text.split(','))
        .find_map(|directive| directive.trim().strip_prefix("max-age=")?.parse().ok());
    Duration::from_secs(seconds.unwrap_or(u64::MAX)).clamp(KEYS_AGE_MIN, KEYS_AGE_MAX)
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value.is_some_and(|value| value.split(';').next() == Some("text/event-stream"))
}

/// For the beginning of an answer, and for all of a short one.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(15);

const KEYS_AGE_MIN: Duration = Duration::from_secs(5);
const KEYS_AGE_MAX: Duration = Duration::from_secs(300);

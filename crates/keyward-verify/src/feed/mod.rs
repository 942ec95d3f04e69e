//! What the issuing service's feed says, and what follows from it. No I/O.
//!
//! A connection begins with the live set, or with what came after a cursor; then it says `synced`,
//! and only from there on does its word count as current. A cursor is kept only from there on too:
//! one from the middle of a live set might stand for the end of it.
//!
//! Comments such as `beat 1763700000000` carry the service's time, in milliseconds. A word counts
//! from when it was spoken, so that bytes which are held back on the way make a verifier stale and
//! not late unknowingly. No clocks need to agree for that: the first time of a connection was read
//! after the connection was asked for, and so was spoken no earlier than that; what comes after it
//! is measured from there. That places a word too early by what the first one took, never too late.

mod event_stream;

use keyward_core::time::Timestamp;
use serde::Deserialize;

use crate::revocations::{Revocation, Revocations, RevokedSubject};
pub use event_stream::Garbled;
use event_stream::{Event, EventStream, Item};

/// The feed of the issuing service across its connections, for whoever brings its bytes by other
/// means than [`Verifier::run`](crate::Verifier::run).
#[derive(Debug, Default)]
pub struct Feed {
    cursor: Option<String>,
}

impl Feed {
    /// Where to go on: the `Last-Event-ID` of the next connection. `None` asks for the live set.
    pub fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }

    /// Asks for the live set next time: what was read, or the cursor itself, cannot be trusted.
    pub fn begin_anew(&mut self) {
        self.cursor = None;
    }

    /// A connection that was just made, and asked for at this time.
    pub fn connect(&mut self, asked_at: Timestamp) -> Connected<'_> {
        Connected {
            feed: self,
            stream: EventStream::default(),
            last_id: None,
            is_synced: false,
            spoken: Spoken { asked_at, ahead: None, last: None },
        }
    }
}

/// One connection to the feed.
#[derive(Debug)]
pub struct Connected<'a> {
    feed: &'a mut Feed,
    stream: EventStream,
    last_id: Option<String>,
    is_synced: bool,
    spoken: Spoken,
}

impl Connected<'_> {
    /// Takes in what arrived, however it was cut into pieces. Once this fails nothing more of the
    /// connection is to be read, and the next one begins anew.
    ///
    /// # Errors
    ///
    /// [`Garbled`] where what arrived is not understood: it may have been a revocation.
    pub fn read(
        &mut self,
        piece: &[u8],
        now: Timestamp,
        revocations: &Revocations,
    ) -> Result<(), Garbled> {
        let Self { feed, stream, last_id, is_synced, spoken } = self;
        stream.read(piece, |item| {
            match item {
                Item::Comment(text) => spoken.take_in(&text, now),
                Item::Event(event) => {
                    *is_synced |= take_in(&event, now, revocations)?;
                    if is_cursor(&event.id) {
                        *last_id = Some(event.id);
                    }
                }
            }
            if *is_synced {
                feed.cursor.clone_from(last_id);
                revocations.hear(spoken.at(now));
            }
            Ok(())
        })
    }

    /// Whether everything that was revoked before is known.
    pub fn is_synced(&self) -> bool {
        self.is_synced
    }
}

/// When the service spoke, as its own times tell; all in milliseconds.
#[derive(Debug)]
struct Spoken {
    asked_at: Timestamp,
    /// What is to be added to the service's times. Only becomes less: no word comes before it was
    /// spoken, so one that would shows that a clock was set, or runs faster.
    ahead: Option<i64>,
    /// The last time, by the clock of this machine.
    last: Option<Timestamp>,
}

impl Spoken {
    fn take_in(&mut self, comment: &str, now: Timestamp) {
        let Some(time) = read_beat(comment) else { return };
        let most = now.millis().saturating_sub(time);
        let first = self.asked_at.millis().saturating_sub(time);
        let ahead = self.ahead.unwrap_or(first).min(most);
        self.ahead = Some(ahead);
        self.last = Some(Timestamp::from_millis(time.saturating_add(ahead)));
    }

    /// When what arrives now was spoken: no earlier than the last time. A service that tells no
    /// times is taken to be near.
    fn at(&self, now: Timestamp) -> Timestamp {
        self.last.unwrap_or(now)
    }
}

fn read_beat(comment: &str) -> Option<i64> {
    comment.strip_prefix("beat ")?.parse().ok().filter(|time| *time >= 0)
}

/// Answers whether everything before is known now. What is not understood may be a revocation,
/// which must not be missed: then nothing after it counts.
fn take_in(event: &Event, now: Timestamp, revocations: &Revocations) -> Result<bool, Garbled> {
    match event.name.as_str() {
        "revoked" => {
            let revocation = read_revocation(&event.data).ok_or(NOT_UNDERSTOOD)?;
            let taken_in = revocations.take_in(revocation, now);
            taken_in.map_err(|_| Garbled("the feed has more revocations than revocations_max"))?;
            Ok(false)
        }
        "synced" => Ok(true),
        // A cursor by itself.
        "" if event.data.is_empty() => Ok(false),
        _ => Err(NOT_UNDERSTOOD),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    sid: Option<String>,
    sub: Option<String>,
    exp: i64,
    revoked_at: Option<i64>,
}

fn read_revocation(data: &str) -> Option<Revocation> {
    let Data { sid, sub, exp, revoked_at } = serde_json::from_str(data).ok()?;
    let subject = match (sid, sub) {
        (Some(sid), None) => RevokedSubject::Session(sid.parse().ok()?),
        // Without its time it speaks of every token that can be presented before `exp`.
        (None, Some(sub)) => {
            RevokedSubject::User { id: sub.parse().ok()?, revoked_at: revoked_at.unwrap_or(exp) }
        }
        (Some(_), Some(_)) | (None, None) => return None,
    };
    Some(Revocation { subject, exp })
}

/// Whether an id may be sent back as a header.
fn is_cursor(id: &str) -> bool {
    (1..=256).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
}

const NOT_UNDERSTOOD: Garbled = Garbled("an event of the feed is not understood");

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn words_count_from_synced_on() {
        let (mut feed, revocations) = (Feed::default(), revocations());
        let mut connected = feed.connect(now());
        let mut say = |text: &str, at: i64| {
            connected.read(text.as_bytes(), Timestamp::from_secs(at), &revocations)
        };
        let staleness = |at: i64| revocations.staleness(Timestamp::from_secs(at));
        assert_eq!(say(&format!(": hello\n\n{}", session(1, "c1")), 10), Ok(()));
        assert_eq!((revocations.len(), staleness(10)), (1, None));
        assert_eq!(say("event: synced\nid: c2\n\n", 11), Ok(()));
        assert_eq!(staleness(13), Some(Duration::from_secs(2)));
        assert_eq!(say(":\n", 20), Ok(()));
        assert_eq!(staleness(21), Some(Duration::from_secs(1)));
        assert_eq!(say("id: c3\n\n", 30), Ok(()));
        assert_eq!((revocations.len(), staleness(30)), (1, Some(Duration::ZERO)));
        assert_eq!(feed.cursor(), Some("c3"));
    }

    #[test]
    fn what_is_held_back_on_the_way_makes_it_stale() {
        let (mut feed, revocations) = (Feed::default(), revocations());
        let mut connected = feed.connect(now());
        let mut say = |text: &str, at: i64| {
            let at = Timestamp::from_secs(at);
            connected.read(text.as_bytes(), at, &revocations).expect("a good feed");
            revocations.staleness(at).map(|staleness| staleness.as_secs())
        };
        // The service's clock is in another century, and the answer took two seconds.
        assert_eq!(say(": beat 7000\n\n", 12), None);
        assert_eq!(say("event: synced\nid: c1\n\n", 12), Some(2));
        assert_eq!(say(": beat 22000\n\n", 27), Some(2));
        // From here on everything takes twenty seconds more.
        assert_eq!(say(": beat 37000\n\n", 62), Some(22));
        assert_eq!(say(&session(1, "c2"), 63), Some(23));
        assert_eq!(say(": beat\n\n", 64), Some(24));
        assert_eq!(say(": beat 52000\n\n", 77), Some(22));
        assert_eq!(say(": beat 82000\n\n", 87), Some(2));
    }

    #[test]
    fn a_clock_of_the_service_that_is_set_hides_no_delay() {
        let (mut feed, revocations) = (Feed::default(), revocations());
        let mut connected = feed.connect(now());
        let mut say = |text: &str, at: i64| {
            let at = Timestamp::from_secs(at);
            connected.read(text.as_bytes(), at, &revocations).expect("a good feed");
            revocations.staleness(at).map(|staleness| staleness.as_secs())
        };
        assert_eq!(say("event: synced\n\n: beat 0\n", 10), Some(0));
        // Set on by a minute: no word comes before it was spoken.
        assert_eq!(say(": beat 75000\n", 25), Some(0));
        assert_eq!(say(": beat 90000\n", 60), Some(20));
        // Set back by an hour: nothing can be told apart from a delay.
        assert_eq!(say(": beat 0\n", 70), Some(120));
    }

    #[test]
    fn times_that_are_none_are_no_times() {
        for text in ["", "beat", "beat ", "beat -1", "beat 1.5", "beat 1 2", "beat 1e3", "heart 1"]
        {
            assert_eq!(read_beat(text), None, "{text}");
        }
        let (mut feed, revocations) = (Feed::default(), revocations());
        let mut connected = feed.connect(now());
        let text = format!("event: synced\n\n: beat {}\n: beat 0\n", i64::MAX);
        connected.read(text.as_bytes(), now(), &revocations).expect("a good feed");
        assert!(revocations.staleness(now()) > Some(Duration::from_secs(3600)));
    }

    #[test]
    fn a_cursor_from_the_middle_of_a_live_set_is_not_kept() {
        let (mut feed, revocations) = (Feed::default(), revocations());
        let mut connected = feed.connect(now());
        let set = format!("{}{}", session(1, "c1"), session(2, "c2"));
        connected.read(set.as_bytes(), now(), &revocations).expect("a good feed");
        assert!(!connected.is_synced());
        assert_eq!(feed.cursor(), None);

        let mut connected = feed.connect(now());
        let set = format!("{set}event: synced\n\n{}", session(3, "c3"));
        connected.read(set.as_bytes(), now(), &revocations).expect("a good feed");
        assert_eq!(revocations.len(), 3);
        let mut connected = feed.connect(now());
        connected.read(session(4, "c4").as_bytes(), now(), &revocations).expect("a good feed");
        assert_eq!(feed.cursor(), Some("c3"));
        feed.begin_anew();
        assert_eq!(feed.cursor(), None);
    }

    #[test]
    fn a_revocation_that_is_not_understood_ends_the_connection_before_its_cursor() {
        let id = "02020202-0202-0202-0202-020202020202";
        for data in [
            "",
            "{}",
            "garbage",
            &format!(r#"{{"sid":"{id}"}}"#),
            &format!(r#"{{"sid":"{id}","exp":"1"}}"#),
            &format!(r#"{{"sid":"{id}","exp":1.5}}"#),
            &format!(r#"{{"sid":"{id}","exp":1,"exp":2}}"#),
            &format!(r#"{{"sid":"{id}","sub":"{id}","exp":1}}"#),
            r#"{"sid":"not an id","exp":1}"#,
            r#"{"exp":1}"#,
        ] {
            let (mut feed, revocations) = (Feed::default(), revocations());
            let mut connected = feed.connect(now());
            let text = format!("event: synced\nid: c1\n\nevent: revoked\ndata: {data}\nid: c2\n\n");
            assert!(connected.read(text.as_bytes(), now(), &revocations).is_err(), "{data}");
            assert!(revocations.is_empty(), "{data}");
            assert_eq!(feed.cursor(), Some("c1"));
        }
    }

    #[test]
    fn garbage_is_no_word() {
        for garbage in [
            "event: revoked\ndata: garbage\nid: c2\n\n",
            "event: revoked\nid: c2\n\n",
            "event: revoked\ndata: {\"sid\":\"0202",
            "event: news\ndata: {}\n\n",
            "data: {}\n\n",
            "<html>\n\n<p>503\n\n",
            "\u{feff}event: synced\n\u{feff}\n",
            &"y".repeat(5000),
        ] {
            let (mut feed, revocations) = (Feed::default(), revocations());
            let mut connected = feed.connect(now());
            let synced = "event: synced\nid: c1\n\n";
            connected.read(synced.as_bytes(), now(), &revocations).expect("a good feed");
            // By the byte, on this connection and on the next one.
            for _ in 0..2 {
                let mut at = now();
                for byte in garbage.bytes() {
                    at = at.plus(Duration::from_secs(1));
                    let outcome = connected.read(&[byte], at, &revocations);
                    assert_eq!(revocations.staleness(at), Some(at.since(now())), "{garbage}");
                    if outcome.is_err() {
                        break;
                    }
                }
                connected = feed.connect(now());
            }
            assert_eq!((revocations.len(), feed.cursor()), (0, Some("c1")), "{garbage}");
        }
    }

    #[test]
    fn an_event_of_another_kind_ends_the_connection() {
        for text in ["event: news\n", "event: revoevent: revoked\n", "eventevent: revoked\n"] {
            let (mut feed, revocations) = (Feed::default(), revocations());
            let text = format!("{text}data: {{}}\n\n");
            assert!(
                feed.connect(now()).read(text.as_bytes(), now(), &revocations).is_err(),
                "{text}"
            );
        }
    }

    #[test]
    fn users_are_revoked_up_to_a_time() {
        let id = "02020202-0202-0202-0202-020202020202";
        let at = |text: &str| read_revocation(text).map(|revocation| revocation.subject);
        let user = |revoked_at| RevokedSubject::User { id: id.parse().expect("an id"), revoked_at };
        let timed = format!(r#"{{"sub":"{id}","exp":9,"revokedAt":5,"later":"more"}}"#);
        assert_eq!(at(&timed), Some(user(5)));
        assert_eq!(at(&format!(r#"{{"sub":"{id}","exp":9}}"#)), Some(user(9)));
    }

    #[test]
    fn more_than_there_is_room_for_ends_the_connection() {
        let mut feed = Feed::default();
        let revocations = Revocations::new(1, Duration::ZERO);
        let mut connected = feed.connect(now());
        let text = format!("{}{}event: synced\n\n", session(1, "c1"), session(2, "c2"));
        assert!(connected.read(text.as_bytes(), now(), &revocations).is_err());
        assert_eq!(revocations.staleness(now()), None);
    }

    fn session(number: u8, id: &str) -> String {
        let sid = keyward_core::id::SessionId::from_bytes([number; 16]);
        format!("event: revoked\ndata: {{\"sid\":\"{sid}\",\"exp\":2000}}\nid: {id}\n\n")
    }

    fn revocations() -> Revocations {
        Revocations::new(1000, Duration::ZERO)
    }

    fn now() -> Timestamp {
        Timestamp::from_secs(10)
    }
}

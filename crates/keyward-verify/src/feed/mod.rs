//! What the issuing service's feed says, and what follows from it. No I/O.
//!
//! A connection begins with the live set, or with what came after a cursor; then it says `synced`,
//! and only from there on does its word count as current. A cursor is kept only from there on too:
//! one from the middle of a live set might stand for the end of it.

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

    /// A connection that was just made.
    pub fn connect(&mut self) -> Connected<'_> {
        Connected { feed: self, stream: EventStream::default(), last_id: None, is_synced: false }
    }
}

/// One connection to the feed.
#[derive(Debug)]
pub struct Connected<'a> {
    feed: &'a mut Feed,
    stream: EventStream,
    last_id: Option<String>,
    is_synced: bool,
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
        let Self { feed, stream, last_id, is_synced } = self;
        stream.read(piece, |item| {
            if let Item::Event(event) = item {
                *is_synced |= take_in(&event, now, revocations)?;
                if is_cursor(&event.id) {
                    *last_id = Some(event.id);
                }
            }
            if *is_synced {
                feed.cursor.clone_from(last_id);
                revocations.hear(now);
            }
            Ok(())
        })
    }

    /// Whether everything that was revoked before is known.
    pub fn is_synced(&self) -> bool {
        self.is_synced
    }
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
        let mut connected = feed.connect();
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
    fn a_cursor_from_the_middle_of_a_live_set_is_not_kept() {
        let (mut feed, revocations) = (Feed::default(), revocations());
        let mut connected = feed.connect();
        let set = format!("{}{}", session(1, "c1"), session(2, "c2"));
        connected.read(set.as_bytes(), now(), &revocations).expect("a good feed");
        assert!(!connected.is_synced());
        assert_eq!(feed.cursor(), None);

        let mut connected = feed.connect();
        let set = format!("{set}event: synced\n\n{}", session(3, "c3"));
        connected.read(set.as_bytes(), now(), &revocations).expect("a good feed");
        assert_eq!(revocations.len(), 3);
        let mut connected = feed.connect();
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
            let mut connected = feed.connect();
            let text = format!("event: synced\nid: c1\n\nevent: revoked\ndata: {data}\nid: c2\n\n");
            assert!(connected.read(text.as_bytes(), now(), &revocations).is_err(), "{data}");
            assert!(revocations.is_empty(), "{data}");
            assert_eq!(feed.cursor(), Some("c1"));
        }
    }

    #[test]
    fn an_event_of_another_kind_ends_the_connection() {
        for text in ["event: news\n", "event: revoevent: revoked\n", "eventevent: revoked\n"] {
            let (mut feed, revocations) = (Feed::default(), revocations());
            let text = format!("{text}data: {{}}\n\n");
            assert!(feed.connect().read(text.as_bytes(), now(), &revocations).is_err(), "{text}");
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
        let mut connected = feed.connect();
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

//! The chain over the audit log: what a checkpoint says of events, and what it is made of.
//!
//! A checkpoint names the events that it covers by their ids, holds two tags for each, and the head
//! of the checkpoint before it. Its own head is the hash of all that, signed.
//!
//! A chain goes on with the key that it was begun with. Another one takes over by a *hand-over*, a
//! checkpoint over no event that both have signed: the public half of a key is no secret, so that
//! the old key's word alone could be anybody's.

use std::fmt;

use aws_lc_rs::digest::{self, SHA256};
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use serde_json::Value;
use zeroize::Zeroizing;

use super::RecordedEvent;
use super::ranges::IdRanges;
use crate::encoding;
use crate::id::UserId;
use crate::time::Timestamp;

/// One link of the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// 1 for the first, and one more for each that follows.
    pub number: u64,
    /// When it was sealed.
    pub at: Timestamp,
    /// When the month begins, in UTC, in which all of its events happened: they leave together.
    pub month: Timestamp,
    /// The latest month of this checkpoint and all before it. It never goes back.
    pub reached: Timestamp,
    /// Which events it covers.
    pub events: IdRanges,
    /// The tags of each event, in the order of the ids.
    pub tags: Vec<u8>,
    /// The head before it; zeros before the first.
    pub previous: ChainHash,
    /// The hash of all of the above.
    pub head: ChainHash,
    /// Whose signature this is, and which key goes on behind it.
    pub key: ChainPublicKey,
    /// Over the head. A hand-over holds that of the key before as well, behind the other.
    pub signature: Vec<u8>,
}

impl Checkpoint {
    /// Seals events of one month, in the order of their ids, behind `last`. `None` for no event.
    pub fn seal(
        last: Option<&Self>,
        events: &[(RecordedEvent, Option<EventSalt>)],
        at: Timestamp,
        key: &ChainKey,
    ) -> Option<Self> {
        let month = events.first()?.0.at.start_of_month();
        let mut sealed = Self::behind(last, month, at, key.public());
        sealed.events = events.iter().map(|(event, _)| event.id).collect();
        sealed.tags =
            events.iter().flat_map(|(event, salt)| Tags::of(event, *salt).bytes()).collect();
        sealed.head = sealed.hash();
        sealed.signature = key.sign(&sealed.head);
        Some(sealed)
    }

    /// Hands the chain over from one key to another, behind `last`.
    pub fn hand_over(last: Option<&Self>, at: Timestamp, from: &ChainKey, to: &ChainKey) -> Self {
        // Without events it is of no month, and must not keep the first ones from being purged.
        let month = last.map_or(Timestamp::from_secs(0), |last| last.month);
        let mut handed = Self::behind(last, month, at, to.public());
        handed.head = handed.hash();
        handed.signature = [to.sign(&handed.head), from.sign(&handed.head)].concat();
        handed
    }

    /// What follows `last`, over no event yet.
    fn behind(last: Option<&Self>, month: Timestamp, at: Timestamp, key: ChainPublicKey) -> Self {
        Self {
            number: last.map_or(1, |last| last.number + 1),
            at,
            month,
            reached: last.map_or(month, |last| last.reached.max(month)),
            events: IdRanges::default(),
            tags: Vec::new(),
            previous: last.map_or(ChainHash::START, |last| last.head),
            head: ChainHash::START,
            key,
            signature: Vec::new(),
        }
    }

    /// Whether this is the work of whoever has the key: it is whole, and signed by it.
    pub fn is_sealed_by(&self, key: &ChainPublicKey) -> bool {
        self.key == *key && self.is_whole() && self.is_signed()
    }

    /// Whether the head is that of what the checkpoint says, with two tags for each event.
    pub fn is_whole(&self) -> bool {
        self.events.count().checked_mul(Tags::BYTES) == Some(self.tags.len() as u64)
            && self.hash() == self.head
    }

    /// Whether the signature is that of the key which it names.
    pub fn is_signed(&self) -> bool {
        self.signatures().is_some_and(|(own, _)| self.key.verifies(&self.head, own))
    }

    /// Whether it hands the chain over from this key.
    pub fn is_handed_over_by(&self, key: &ChainPublicKey) -> bool {
        let before = self.signatures().and_then(|(_, before)| before);
        before.is_some_and(|signature| key.verifies(&self.head, signature))
    }

    /// Whether it covers no event, and hands the chain over.
    pub fn is_hand_over(&self) -> bool {
        self.events.count() == 0
    }

    /// That of the key which it names and, of a hand-over, that of the key before.
    fn signatures(&self) -> Option<(&[u8], Option<&[u8]>)> {
        let (own, before) = self.signature.split_at_checked(SIGNATURE_BYTES)?;
        match (self.is_hand_over(), before.len()) {
            (false, 0) => Some((own, None)),
            (true, SIGNATURE_BYTES) => Some((own, Some(before))),
            (_, _) => None,
        }
    }

    /// Where the chain stands with this checkpoint.
    pub fn anchor(&self) -> Anchor {
        Anchor { number: self.number, head: self.head }
    }

    /// The tags in base64url.
    pub fn tags_text(&self) -> String {
        encoding::encode(&self.tags)
    }

    /// The signature in base64url.
    pub fn signature_text(&self) -> String {
        encoding::encode(&self.signature)
    }

    /// The bytes of such a text; `None` where it is none.
    pub fn bytes_of(text: &str) -> Option<Vec<u8>> {
        encoding::decode(text)
    }

    /// The tags of the event at this place among those that are covered.
    pub(super) fn tags_at(&self, place: usize) -> Option<Tags> {
        let (open, personal) = self.tags.get(place * 32..place * 32 + 32)?.split_at(16);
        Some(Tags { open: open.try_into().ok()?, personal: personal.try_into().ok()? })
    }

    fn hash(&self) -> ChainHash {
        let mut hash = digest::Context::new(&SHA256);
        hash.update(b"keyward audit checkpoint v1\0");
        hash.update(&self.previous.0);
        hash.update(&self.number.to_be_bytes());
        for time in [self.at, self.month, self.reached] {
            hash.update(&time.millis().to_be_bytes());
        }
        hash.update(&self.key.0);
        let events = self.events.to_string();
        hash.update(&(events.len() as u64).to_be_bytes());
        hash.update(events.as_bytes());
        // The last part, so that its end is the end.
        hash.update(&self.tags);
        ChainHash(first_bytes(hash.finish().as_ref()))
    }
}

/// What a checkpoint holds of one event: whether it is unchanged can be told from it, and nothing
/// of the event itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tags {
    /// Over all that stays for as long as the event does.
    pub(super) open: [u8; 16],
    /// Over address and browser, where they leave with their user, salted. Zeros: nothing is said
    /// of them here.
    pub(super) personal: [u8; 16],
}

impl Tags {
    /// What [`Tags::personal`] is where it says nothing.
    pub(super) const SILENT: [u8; 16] = [0; 16];

    const BYTES: u64 = 32;

    /// The tags of an event. Without its salt nothing is said of what is personal.
    pub(super) fn of(event: &RecordedEvent, salt: Option<EventSalt>) -> Self {
        let mut open = Hasher::new(b"keyward audit event v1\0");
        open.number(event.id);
        open.number(event.at.millis());
        open.bytes(Some(event.name.as_bytes()));
        open.bytes(event.user_id.as_ref().map(|id| id.as_bytes().as_slice()));
        open.bytes(event.session_id.as_ref().map(|id| id.as_bytes().as_slice()));
        open.bytes(event.request_id.as_deref().map(str::as_bytes));
        open.bytes(Some(event.detail.as_bytes()));
        let bearer = Bearer::of(event);
        if bearer == Bearer::Nobody {
            open.device(event);
        }
        let personal = match (bearer, salt) {
            (Bearer::User(_), Some(salt)) => {
                let mut personal = Hasher::new(b"keyward audit person v1\0");
                personal.bytes(Some(&salt.0));
                personal.device(event);
                personal.finish()
            }
            (Bearer::User(_), None) | (Bearer::Nobody | Bearer::Unknown, _) => Self::SILENT,
        };
        Self { open: open.finish(), personal }
    }

    fn bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(&self.open);
        bytes[16..].copy_from_slice(&self.personal);
        bytes
    }
}

/// Whose address and browser an event holds: with whom they leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bearer {
    /// Nobody's whose deletion takes them away.
    Nobody,
    /// Those of somebody whom the event does not name: a refused request names a session only.
    Unknown,
    /// This user's.
    User(UserId),
}

impl Bearer {
    /// Whose they are.
    pub fn of(event: &RecordedEvent) -> Self {
        match (event.user_id, event.session_id) {
            (Some(id), _) if is_act_of_another(&event.detail, id) => Self::Nobody,
            (Some(id), _) => Self::User(id),
            (None, Some(_)) => Self::Unknown,
            (None, None) => Self::Nobody,
        }
    }
}

/// Whether an event about the user tells what somebody else did, by its detail: then it is not the
/// user's address that it holds.
pub fn is_act_of_another(detail: &str, id: UserId) -> bool {
    // Most events name no actor, and need not be read for it.
    if !detail.contains("\"actor\"") {
        return false;
    }
    let detail: Value = serde_json::from_str(detail).unwrap_or_default();
    let actor = detail.get("actor");
    actor.is_some_and(|actor| actor["userId"] != id.to_string())
}

/// A secret of one user, which the tags of what is personal are made with. It is deleted with its
/// user: what the tags were made of cannot be guessed from them any more.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct UserSalt([u8; 32]);

impl UserSalt {
    /// A salt of 32 bytes of entropy.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The salt of one event, which says nothing of those of others.
    pub fn of_event(&self, id: i64) -> EventSalt {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.0);
        EventSalt(first_bytes(hmac::sign(&key, &id.to_be_bytes()).as_ref()))
    }
}

impl fmt::Debug for UserSalt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserSalt")
    }
}

/// The salt of one event; an exported event carries it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct EventSalt([u8; 16]);

impl fmt::Debug for EventSalt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EventSalt")
    }
}

/// The key that signs checkpoints, Ed25519 (RFC 8032).
pub struct ChainKey(Ed25519KeyPair);

impl ChainKey {
    /// For what [`MasterKey::derive`](crate::keys::MasterKey::derive) derives the seed.
    pub const PURPOSE: &str = "keyward audit chain v1";

    /// The key of a seed.
    pub fn from_seed(seed: &Zeroizing<[u8; 32]>) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.as_slice());
        Self(pair.expect("any 32 bytes are the seed of a key"))
    }

    /// The half that verifies.
    pub fn public(&self) -> ChainPublicKey {
        ChainPublicKey(first_bytes(self.0.public_key().as_ref()))
    }

    fn sign(&self, head: &ChainHash) -> Vec<u8> {
        self.0.sign(&signed(head)).as_ref().to_vec()
    }
}

impl fmt::Debug for ChainKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChainKey")
    }
}

/// The public half of a [`ChainKey`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ChainPublicKey([u8; 32]);

impl ChainPublicKey {
    fn verifies(&self, head: &ChainHash, signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(&signed(head), signature).is_ok()
    }
}

/// Nothing else that this key could be asked to sign begins so.
fn signed(head: &ChainHash) -> Vec<u8> {
    [b"keyward audit head v1\0".as_slice(), &head.0].concat()
}

/// The head of a chain, or one that was.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ChainHash([u8; 32]);

impl ChainHash {
    /// Before the first checkpoint.
    pub const START: Self = Self([0; 32]);
}

/// Types of some bytes with one canonical text in base64url.
macro_rules! bytes_with_text {
    ($($name:ident of $length:literal),+) => {
        $(impl $name {
            /// Reads the form that [`Self::text`] makes, and no other.
            pub fn parse(text: &str) -> Option<Self> {
                encoding::decode_exact::<$length>(text).map(Self)
            }

            /// Its bytes, as they are stored; `None` for another number of them.
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }

            /// Its bytes.
            pub fn as_slice(&self) -> &[u8] {
                &self.0
            }

            /// In base64url.
            pub fn text(&self) -> String {
                encoding::encode(&self.0)
            }
        })+
    };
}

bytes_with_text!(ChainHash of 32, ChainPublicKey of 32, EventSalt of 16);

impl fmt::Debug for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl fmt::Debug for ChainPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

/// A place in the chain that somebody outside has written down: `NUMBER:HEAD`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Anchor {
    /// Of a checkpoint.
    pub number: u64,
    /// Its head.
    pub head: ChainHash,
}

impl Anchor {
    /// Reads the form that is displayed, and no other.
    pub fn parse(text: &str) -> Option<Self> {
        let (number, head) = text.split_once(':')?;
        let anchor = Self { number: number.parse().ok()?, head: ChainHash::parse(head)? };
        (anchor.to_string() == text).then_some(anchor)
    }
}

impl fmt::Display for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.number, self.head.text())
    }
}

/// No two sequences of values are hashed as the same bytes.
struct Hasher(digest::Context);

impl Hasher {
    fn new(of: &[u8]) -> Self {
        let mut context = digest::Context::new(&SHA256);
        context.update(of);
        Self(context)
    }

    fn number(&mut self, number: i64) {
        self.0.update(&number.to_be_bytes());
    }

    fn bytes(&mut self, bytes: Option<&[u8]>) {
        let Some(bytes) = bytes else { return self.0.update(&[0]) };
        self.0.update(&[1]);
        self.0.update(&(bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }

    fn device(&mut self, event: &RecordedEvent) {
        self.bytes(event.device.ip.as_deref().map(str::as_bytes));
        self.bytes(event.device.user_agent.as_deref().map(str::as_bytes));
    }

    fn finish(self) -> [u8; 16] {
        first_bytes(self.0.finish().as_ref())
    }
}

fn first_bytes<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut first = [0; N];
    first.copy_from_slice(&bytes[..N]);
    first
}

/// Of Ed25519.
const SIGNATURE_BYTES: usize = 64;

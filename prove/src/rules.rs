//! The real code, called once for each different question.
//!
//! Tokens, keys and rows are those of `keyward-core`: issued, tagged, hashed, sealed, swapped and
//! decided about by it. A state names them by small numbers, and what an exchange came to is kept,
//! since the core answers the same question the same way.

use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroU16;
use std::sync::{PoisonError, RwLock};

use keyward_core::id::{SessionId, UserId};
use keyward_core::refresh_token::{IdempotencyKey, MacKey, MacKeys, RefreshToken, TagTrust};
use keyward_core::rotation::{Decision, Exchange, RotationPolicy, SwapEntropy};
use keyward_core::session::{
    Device, RETRY_PROOFS_MAX, Revocation, RevocationReason, Session, SessionState,
};
use keyward_core::time::Timestamp;

use crate::mix::BuildMix;
use crate::mutation::Mutation;

/// A refresh token. Its text is known to [`Rules`] alone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token {
    /// Which of the model's sessions it belongs to.
    pub session: u8,
    /// Its place in the family.
    pub generation: u8,
    /// One more than its place in the table: so a set of tokens is small.
    number: NonZeroU16,
}

impl Token {
    fn index(self) -> usize {
        usize::from(self.number.get()) - 1
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { session, generation, number } = self;
        write!(f, "token {generation} of session {session} (#{number})")
    }
}

/// An Idempotency-Key, or none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(u16);

impl Key {
    /// A request without the header.
    pub const NONE: Self = Self(0);
    /// One that the thief made.
    pub const THIEF: Self = Self(1);

    /// The browser's key of this number.
    pub fn fresh(number: u8) -> Self {
        Self(FIRST_FRESH + u16::from(number))
    }

    /// The key that an app derives from a token and a secret of its own.
    pub fn derived(token: Token) -> Self {
        Self(FIRST_DERIVED + token.number.get())
    }

    fn parse(self) -> Option<IdempotencyKey> {
        let text = format!("idempotency key {:05}", self.0);
        (self != Self::NONE).then(|| IdempotencyKey::parse(&text).expect("it is well formed"))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NONE => f.write_str("no key"),
            Self::THIEF => f.write_str("the thief's key"),
            Self(number) if number < FIRST_DERIVED => write!(f, "key {}", number - FIRST_FRESH),
            Self(_) => f.write_str("the key derived from it"),
        }
    }
}

/// A committed version of a session's row.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Row {
    /// The token that may be exchanged now.
    pub tip: Token,
    /// Whether the session was ended.
    pub revoked: bool,
    index: u16,
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}{}", self.tip, if self.revoked { ", revoked" } else { "" })
    }
}

/// What one presentation of a token to one version of a row comes to.
#[derive(Debug, Clone, Copy)]
pub struct Attempt {
    /// What is decided.
    pub decision: Decision,
    /// Where the guarded write happens: the row that it leaves.
    pub swapped: Option<Row>,
    /// The token that the write makes current, handed out only where it happens.
    pub successor: Token,
    /// With [`Decision::Retry`]: the successor that was sealed.
    pub opened: Option<Token>,
}

impl Attempt {
    /// Whether it changes nothing, and never will where proofs are kept for good.
    pub fn is_idle(&self) -> bool {
        matches!(self.decision, Decision::Revoked(_) | Decision::Retry | Decision::Late)
    }
}

/// The rules under one policy, and all that was ever issued under them.
#[derive(Debug)]
pub struct Rules {
    policy: RotationPolicy,
    keys: MacKeys,
    clock: &'static [i64],
    mutation: Option<Mutation>,
    tables: RwLock<Tables>,
}

#[derive(Debug, Default)]
struct Tables {
    tokens: Vec<Issued>,
    token_by_hash: HashMap<[u8; 32], Token>,
    rows: Vec<Session>,
    rows_by_tip: HashMap<Token, Vec<Row>>,
    attempts: HashMap<(Row, Token, Key, u8, bool), Attempt, BuildMix>,
}

/// A token, and where it comes from.
#[derive(Debug)]
struct Issued {
    token: RefreshToken,
    /// The one that was presented for it.
    before: Option<Token>,
    /// When.
    at: u8,
}

impl Rules {
    /// The rules, with a clock that shows these instants, in milliseconds after the sign-in.
    pub fn new(policy: RotationPolicy, clock: &'static [i64], mutation: Option<Mutation>) -> Self {
        // The mutation takes the mark off the key that was stolen.
        let trust = if mutation == Some(Mutation::CompromiseForgotten) {
            TagTrust::Sound
        } else {
            TagTrust::Compromised
        };
        let stolen = MacKey::new(STOLEN_KEY_ID, &STOLEN_SECRET, trust);
        let keys = MacKeys::new(MacKey::new(KEY_ID, &SECRET, TagTrust::Sound), vec![stolen]);
        Self { policy, keys, clock, mutation, tables: RwLock::default() }
    }

    /// The policy.
    pub fn policy(&self) -> &RotationPolicy {
        &self.policy
    }

    /// A session that was just opened. `tagged_by_stolen`: while the key of the tags that was
    /// stolen later was still the active one.
    pub fn open_session(&self, session: u8, at: u8, tagged_by_stolen: bool) -> Row {
        let secret = [SIGN_IN_ENTROPY; 32];
        let token = if tagged_by_stolen {
            RefreshToken::issue(session_id(session), 0, &secret, &stolen_keys())
        } else {
            RefreshToken::issue(session_id(session), 0, &secret, &self.keys)
        };
        let (id, user_id) = (session_id(session), UserId::from_bytes([1; 16]));
        let (device, now) = (Device::default(), self.now(at));
        let row = Session::open(id, user_id, token.hash(), &self.policy, device, now);
        self.write(|tables| {
            let tip = tables.token(token, session, None, at);
            tables.row(row, tip)
        })
    }

    /// Presents a token to a row, as the service does: prepares the swap, carries it out where the
    /// row accepts it, and decides where it does not.
    pub fn attempt(&self, row: Row, token: Token, key: Key, at: u8, restored: bool) -> Attempt {
        let question = (row, token, key, at, restored);
        let known = self.read(|tables| tables.attempts.get(&question).copied());
        known.unwrap_or_else(|| {
            self.write(|tables| {
                let attempt = self.exchange(tables, question);
                tables.attempts.insert(question, attempt);
                attempt
            })
        })
    }

    fn exchange(&self, tables: &mut Tables, question: (Row, Token, Key, u8, bool)) -> Attempt {
        let (row, token, key, at, restored) = question;
        let now = self.now(at);
        let mut session = tables.rows[usize::from(row.index)].clone();
        let exchange = Exchange::new(&tables.issued(token).token, key.parse().as_ref());
        let entropy = entropy(token, key, at, restored);
        let (successor, swap) =
            exchange.prepare(&entropy, &self.keys, &self.policy, Device::default(), now);
        let decision = exchange.decide(Some(&session), &self.policy, now);
        let opened = (decision == Decision::Retry)
            .then(|| exchange.open_successor(&session, &self.keys).expect("a retry opens"));

        let accepts = session.accepts(&swap);
        assert_eq!(accepts, decision == Decision::Rotate, "the guard and the decision agree");
        let lives = session.revoked.is_none();
        let swaps = match self.mutation {
            Some(Mutation::SwapUnguarded) => lives,
            Some(Mutation::SwapOfRevoked) => session.refresh_token_hash == swap.presented_hash,
            _ => accepts,
        };
        let successor = tables.token(successor, token.session, Some(token), at);
        let swapped = swaps.then(|| {
            session.rotate(&swap);
            tables.row(session, successor)
        });
        let opened = opened.map(|opened| tables.token(opened, token.session, Some(token), at));
        Attempt { decision, swapped, successor, opened }
    }

    /// The row, ended.
    pub fn revoke(&self, row: Row, reason: RevocationReason, at: u8) -> Row {
        let revocation = Revocation { at: self.now(at), reason };
        self.with_revocation(row, Some(revocation))
    }

    /// The row as if it had never been ended, for the mutation that forgets it.
    pub fn forget_revocation(&self, row: Row) -> Row {
        self.with_revocation(row, None)
    }

    fn with_revocation(&self, row: Row, revoked: Option<Revocation>) -> Row {
        self.write(|tables| {
            let session = Session { revoked, ..tables.rows[usize::from(row.index)].clone() };
            tables.row(session, row.tip)
        })
    }

    /// Whether the session is neither ended nor expired.
    pub fn is_live(&self, row: Row, at: u8) -> bool {
        let state = |tables: &Tables| tables.rows[usize::from(row.index)].state(self.now(at));
        self.read(state) == SessionState::Live
    }

    /// Whether the last rotation is further away than the race window.
    pub fn is_past_race_window(&self, row: Row, at: u8) -> bool {
        let rotated_at = self.read(|tables| tables.rows[usize::from(row.index)].rotated_at);
        self.now(at).distance(rotated_at) >= self.policy.race_window
    }

    /// Whether a request that presents this token still comes in time: within eight rotations after
    /// the one that replaced it, and within the retry window.
    pub fn is_in_time(&self, row: Row, token: Token, at: u8) -> bool {
        self.read(|tables| {
            let replaced = |successor: &Token| tables.issued(*successor).before == Some(token);
            let Some(successor) = tables.line(row).find(replaced) else { return true };
            let age = self.now(at).since(self.now(tables.issued(successor).at));
            let rotations = usize::from(row.tip.generation - token.generation);
            rotations <= RETRY_PROOFS_MAX && age <= self.policy.retry_window
        })
    }

    /// Whether the token was committed: the row's own, or one that came before it.
    pub fn is_committed(&self, row: Row, token: Token) -> bool {
        self.read(|tables| tables.line(row).any(|committed| committed == token))
    }

    /// Tokens that somebody without the active MAC key makes up for session 0, as far as they
    /// parse: with a key of their own, with the tag of another session's token, with the stolen
    /// key.
    pub fn made_up(&self, generations_max: u8) -> Vec<Token> {
        let own = keys_of_a_stranger();
        let texts = (0..=u64::from(generations_max) + 1).flat_map(|generation| {
            let issue = |session, keys: &MacKeys| {
                RefreshToken::issue(session_id(session), generation, &[FORGED_ENTROPY; 32], keys)
            };
            let made_up = issue(0, &own).expose().to_owned();
            // A good token of a session of one's own, with the victim's session id put in.
            let (head, tail) = (SESSION_ID_CHARS, issue(NEIGHBOUR, &self.keys));
            let spliced = format!("{}{}", &made_up[..head], &tail.expose()[head..]);
            let stolen = issue(0, &stolen_keys()).expose().to_owned();
            [made_up, spliced, stolen]
        });
        texts.filter_map(|text| self.parse(&text)).collect()
    }

    fn parse(&self, text: &str) -> Option<Token> {
        let token = match self.mutation {
            // Whatever the tag: the maker's own keys find it good.
            Some(Mutation::TagUnchecked) => RefreshToken::parse(text, &keys_of_a_stranger()),
            _ => RefreshToken::parse(text, &self.keys),
        };
        token.map(|token| self.write(|tables| tables.token(token, 0, None, 0)))
    }

    fn now(&self, at: u8) -> Timestamp {
        let offset = self.clock.get(usize::from(at)).copied().unwrap_or_default();
        Timestamp::from_millis(SIGNED_IN_AT + offset)
    }

    fn read<T>(&self, read: impl FnOnce(&Tables) -> T) -> T {
        read(&self.tables.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, write: impl FnOnce(&mut Tables) -> T) -> T {
        write(&mut self.tables.write().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Tables {
    fn issued(&self, token: Token) -> &Issued {
        &self.tokens[token.index()]
    }

    /// The row's token and those that it replaced, the newest first.
    fn line(&self, row: Row) -> impl Iterator<Item = Token> {
        std::iter::successors(Some(row.tip), |token| self.issued(*token).before)
    }

    fn token(&mut self, token: RefreshToken, session: u8, before: Option<Token>, at: u8) -> Token {
        let hash = *token.hash().as_bytes();
        if let Some(known) = self.token_by_hash.get(&hash) {
            return *known;
        }
        let generation = u8::try_from(token.generation()).expect("a small generation");
        let number = u16::try_from(self.tokens.len() + 1).ok().and_then(NonZeroU16::new);
        let known = Token { session, generation, number: number.expect("few tokens") };
        self.tokens.push(Issued { token, before, at });
        self.token_by_hash.insert(hash, known);
        known
    }

    fn row(&mut self, session: Session, tip: Token) -> Row {
        let same_tip = self.rows_by_tip.entry(tip).or_default();
        let known = same_tip.iter().find(|row| self.rows[usize::from(row.index)] == session);
        if let Some(known) = known {
            return *known;
        }
        let index = u16::try_from(self.rows.len()).expect("few rows");
        let row = Row { tip, revoked: session.revoked.is_some(), index };
        same_tip.push(row);
        self.rows.push(session);
        row
    }
}

/// Fresh for each exchange that could be committed beside another: no two of these share the token,
/// the key, the time and the life of the store.
fn entropy(token: Token, key: Key, at: u8, restored: bool) -> SwapEntropy {
    let mut secret = [0; 32];
    secret[..2].copy_from_slice(&token.number.get().to_be_bytes());
    secret[2..4].copy_from_slice(&key.0.to_be_bytes());
    secret[4..6].copy_from_slice(&[at, u8::from(restored)]);
    SwapEntropy { secret, nonce: [0; 12] }
}

fn session_id(session: u8) -> SessionId {
    SessionId::from_bytes([session; 16])
}

fn stolen_keys() -> MacKeys {
    MacKeys::new(MacKey::new(STOLEN_KEY_ID, &STOLEN_SECRET, TagTrust::Sound), vec![])
}

fn keys_of_a_stranger() -> MacKeys {
    MacKeys::new(MacKey::new(KEY_ID, &[9; 32], TagTrust::Sound), vec![])
}

const SIGNED_IN_AT: i64 = 1_800_000_000_000;

/// A session of the one who makes tokens up.
const NEIGHBOUR: u8 = 9;

/// `kwr_`, and the characters that hold the id of the key, of the session and a zero.
const SESSION_ID_CHARS: usize = 4 + 24;

const KEY_ID: u8 = 2;
const SECRET: [u8; 32] = [2; 32];
const STOLEN_KEY_ID: u8 = 1;
const STOLEN_SECRET: [u8; 32] = [1; 32];

const SIGN_IN_ENTROPY: u8 = 0xEE;
const FORGED_ENTROPY: u8 = 0xFF;

const FIRST_FRESH: u16 = 2;
const FIRST_DERIVED: u16 = 1000;

//! A server of one session: the real rules, wired together the way the service does it.

use keyward_core::id::SessionId;
use keyward_core::refresh_token::{IdempotencyKey, MacKey, MacKeys, RefreshToken, TagTrust};
use keyward_core::rotation::{Decision, Exchange, RotationPolicy, SwapEntropy};
use keyward_core::session::{
    Device, RETRY_PROOFS_MAX, Revocation, RevocationReason, Session, SessionState,
};
use keyward_core::time::Timestamp;

use crate::support::{SIGNED_IN_AT, new_session};

/// The session row, the keys and the clock.
pub(crate) struct Server {
    pub(crate) session: Session,
    pub(crate) policy: RotationPolicy,
    pub(crate) now: Timestamp,
    keys: MacKeys,
    /// Every token that was ever handed out, in the order of their generations.
    issued: Vec<String>,
}

/// What a presentation came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) decision: Decision,
    /// With [`Decision::Rotate`] and [`Decision::Retry`].
    pub(crate) token: Option<String>,
}

impl Server {
    /// Somebody has just signed in.
    pub(crate) fn new(policy: RotationPolicy) -> Self {
        let keys = MacKeys::new(
            MacKey::new(2, &[2; 32], TagTrust::Sound),
            vec![MacKey::new(1, &COMPROMISED_SECRET, TagTrust::Compromised)],
        );
        let first = RefreshToken::issue(SESSION_ID, 0, &[0; 32], &keys);
        Self {
            session: new_session(SESSION_ID, first.hash()),
            policy,
            now: SIGNED_IN_AT,
            keys,
            issued: vec![first.expose().to_owned()],
        }
    }

    /// The token of this generation.
    pub(crate) fn issued(&self, generation: usize) -> &str {
        &self.issued[generation]
    }

    /// Load, decide, commit, reply; and every promise that one presentation can break.
    pub(crate) fn refresh(&mut self, text: &str, key: Option<&str>) -> Answer {
        let before = self.session.clone();
        let answer = self.answer(text, key);
        self.assert_monotone(&before, &answer);
        self.assert_one_line();
        if let (Decision::Rotate | Decision::Retry, Some(token)) = (answer.decision, &answer.token)
        {
            let presented = self.issued.iter().position(|issued| issued == text);
            let successor = presented.and_then(|generation| self.issued.get(generation + 1));
            assert_eq!(successor, Some(token), "one token has one successor");
        }
        answer
    }

    fn answer(&mut self, text: &str, key: Option<&str>) -> Answer {
        let key =
            key.map(|key| IdempotencyKey::parse(key).expect("a key of a test is well formed"));
        let Some(token) = RefreshToken::parse(text, &self.keys) else {
            return Answer { decision: Decision::Invalid, token: None };
        };
        if token.session_id() != self.session.id {
            return Answer { decision: Decision::Invalid, token: None };
        }
        let exchange = Exchange::new(&token, key.as_ref());
        let decision = self.decide(&exchange);
        let token = match decision {
            Decision::Rotate => Some(self.rotate(&exchange)),
            Decision::Retry => Some(self.open(&exchange)),
            Decision::Reuse => self.revoke(RevocationReason::ReuseDetected),
            Decision::Rollback => self.revoke(RevocationReason::StoreRollback),
            Decision::Invalid
            | Decision::Revoked(_)
            | Decision::Expired { .. }
            | Decision::Late
            | Decision::Race => None,
        };
        Answer { decision, token }
    }

    fn decide(&self, exchange: &Exchange<'_>) -> Decision {
        exchange.decide(Some(&self.session), &self.policy, self.now)
    }

    fn rotate(&mut self, exchange: &Exchange<'_>) -> String {
        let generation = exchange.token().generation() + 1;
        let byte = u8::try_from(generation % 251).expect("below 251");
        let entropy = SwapEntropy { secret: [byte; 32], nonce: [7; 12] };
        let (successor, swap) =
            exchange.prepare(&entropy, &self.keys, &self.policy, Device::default(), self.now);
        assert!(self.session.accepts(&swap), "what is decided as Rotate is accepted");
        self.session.rotate(&swap);
        assert!(!self.session.accepts(&swap), "no token is exchanged twice");
        self.issued.push(successor.expose().to_owned());
        successor.expose().to_owned()
    }

    fn open(&self, exchange: &Exchange<'_>) -> String {
        let successor = exchange.open_successor(&self.session, &self.keys);
        successor.expect("a retry opens its successor").expose().to_owned()
    }

    /// Ends the session; there is no token in the answer.
    pub(crate) fn revoke(&mut self, reason: RevocationReason) -> Option<String> {
        self.session.revoked.get_or_insert(Revocation { at: self.now, reason });
        None
    }

    /// A token with a good tag that this server never handed out, as only the holder of the
    /// compromised key can make it.
    pub(crate) fn forged(&self, generation: u64, secret: &[u8; 32]) -> String {
        let stolen = MacKey::new(1, &COMPROMISED_SECRET, TagTrust::Compromised);
        let keys = MacKeys::new(stolen, vec![]);
        RefreshToken::issue(SESSION_ID, generation, secret, &keys).expose().to_owned()
    }

    fn assert_monotone(&self, before: &Session, answer: &Answer) {
        let after = &self.session;
        let step = u64::from(answer.decision == Decision::Rotate);
        assert_eq!(after.generation, before.generation + step, "only a rotation counts up");
        if before.revoked.is_some() {
            assert_eq!(after, before, "a revoked session is left as it is");
            assert_eq!(answer.token, None);
        }
        let changes =
            matches!(answer.decision, Decision::Rotate | Decision::Reuse | Decision::Rollback);
        assert_eq!(after != before, changes, "{:?}", answer.decision);
        assert!(after.retry_proofs.len() <= RETRY_PROOFS_MAX, "storage is constant");
    }

    /// At most one token can be exchanged: the newest, and only while the session lives.
    fn assert_one_line(&self) {
        let lives = self.session.state(self.now) == SessionState::Live;
        for (generation, text) in self.issued.iter().enumerate() {
            let token = RefreshToken::parse(text, &self.keys).expect("issued tokens parse");
            let newest = generation + 1 == self.issued.len();
            let exchangeable = self.decide(&Exchange::new(&token, None)) == Decision::Rotate;
            assert_eq!(exchangeable, newest && lives, "generation {generation}");
        }
    }
}

pub(crate) const SESSION_ID: SessionId = SessionId::from_bytes([3; 16]);
const COMPROMISED_SECRET: [u8; 32] = [1; 32];

//! The rehearsals: what is stolen or forged, what has to come of it, and how it is played.

use std::pin::Pin;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::browser::{COOKIE, CSRF_HEADER};
use super::stage::Stage;
use crate::assembly;
use crate::failure::Failure;

/// One way of the threat model.
pub(super) struct Rehearsal {
    /// What the table calls it.
    pub(super) name: &'static str,
    /// What is stolen or forged, and who acts.
    pub(super) attack: &'static str,
    /// What has to come of it.
    pub(super) end: End,
    /// What has to be answered, in order; the first by default, the others as it is configured.
    pub(super) expected: &'static [&'static [&'static str]],
    /// The audit events that have to tell it.
    pub(super) events: &'static [&'static str],
    /// Plays it.
    pub(super) play: for<'a, 'b> fn(&'a mut Stage<'b>) -> Play<'a>,
}

/// A rehearsal under way.
type Play<'a> = Pin<Box<dyn Future<Output = Result<(), Failure>> + 'a>>;

/// What has to come of an attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The theft is noticed: nobody has a live token any more.
    SessionEnds,
    /// The session had been ended, and stays so.
    StaysEnded,
    /// The attack is refused, and does no harm to the session.
    Unharmed,
}

impl End {
    /// As people and machines read it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::SessionEnds => "session ends",
            Self::StaysEnded => "stays ended",
            Self::Unharmed => "refused, unharmed",
        }
    }
}

/// All of them. Those whose events the service counts past ten a minute come first, so that each of
/// these events is written on its own.
pub(super) const REHEARSALS: &[Rehearsal] = &[
    Rehearsal {
        name: "forged tag",
        attack: "a stranger presents a refresh token with one bit of its tag flipped",
        end: End::Unharmed,
        expected: &[&[INVALID_REFRESH_TOKEN, OK]],
        events: &["refresh.rejected"],
        play: |stage| Box::pin(forged_tag(stage)),
    },
    Rehearsal {
        name: "forged generation or session",
        attack: "a stranger presents a refresh token that claims to be another one",
        end: End::Unharmed,
        expected: &[&[INVALID_REFRESH_TOKEN, INVALID_REFRESH_TOKEN, OK]],
        events: &["refresh.rejected"],
        play: |stage| Box::pin(forged_claims(stage)),
    },
    Rehearsal {
        name: "page of another site",
        attack: "another site's page sends the owner's cookies: by origin, by site, without token",
        end: End::Unharmed,
        expected: &[&["403 ORIGIN_NOT_ALLOWED", "403 ORIGIN_NOT_ALLOWED", "403 CSRF_FAILED", OK]],
        events: &["csrf.rejected"],
        play: |stage| Box::pin(page_of_another_site(stage)),
    },
    Rehearsal {
        name: "tossed second cookie",
        attack: "a sibling host adds its own refresh cookie to the owner's",
        end: End::Unharmed,
        expected: &[&["400 INVALID_REQUEST", OK]],
        events: &[],
        play: |stage| Box::pin(tossed_cookie(stage)),
    },
    Rehearsal {
        name: "forged access token",
        attack: "a stranger makes access tokens: without a signature, and with one of their own",
        end: End::Unharmed,
        expected: &[&["401 INVALID_TOKEN", "401 INVALID_TOKEN", OK]],
        events: &["access_token.rejected"],
        play: |stage| Box::pin(forged_access_token(stage)),
    },
    Rehearsal {
        name: "guessed password",
        attack: "a stranger tries passwords of an account that there is not",
        end: End::Unharmed,
        expected: &[&["429 RATE_LIMITED"]],
        events: &["login.failed", "login.rate_limited"],
        play: |stage| Box::pin(guessed_password(stage)),
    },
    Rehearsal {
        name: "access token after sign-out",
        attack: "a thief uses a stolen access token after its owner signed out",
        end: End::StaysEnded,
        expected: &[&[OK, OK, TOKEN_REVOKED]],
        events: &["session.revoked", "access_token.rejected"],
        play: |stage| Box::pin(access_token_after_sign_out(stage)),
    },
    Rehearsal {
        name: "refresh after sign-out",
        attack: "a thief presents stolen cookies after their owner signed out",
        end: End::StaysEnded,
        expected: &[&[OK, SESSION_REVOKED]],
        events: &["session.revoked", "refresh.after_revocation"],
        play: |stage| Box::pin(refresh_after_sign_out(stage)),
    },
    Rehearsal {
        name: "after a password change",
        attack: "a thief uses stolen cookies after their owner changed the password elsewhere",
        end: End::StaysEnded,
        expected: &[&[OK, SESSION_REVOKED, TOKEN_REVOKED, OK]],
        events: &["password.changed", "session.revoked", "refresh.after_revocation"],
        play: |stage| Box::pin(after_password_change(stage)),
    },
    Rehearsal {
        name: "owner first, then thief",
        attack: "a thief presents stolen cookies that their owner has spent",
        end: End::SessionEnds,
        expected: &[&[OK, REUSED, SESSION_REVOKED, TOKEN_REVOKED]],
        events: &["session.reuse_detected"],
        play: |stage| Box::pin(owner_first(stage)),
    },
    Rehearsal {
        name: "thief first, then owner",
        attack: "a thief spends stolen cookies before their owner presents them",
        end: End::SessionEnds,
        expected: &[&[OK, REUSED, SESSION_REVOKED, TOKEN_REVOKED]],
        events: &["session.reuse_detected"],
        play: |stage| Box::pin(thief_first(stage)),
    },
    Rehearsal {
        name: "three generations old",
        attack: "a thief presents stolen cookies after their owner's third refresh",
        end: End::SessionEnds,
        expected: &[&[OK, OK, OK, REUSED, SESSION_REVOKED, TOKEN_REVOKED]],
        events: &["session.reuse_detected"],
        play: |stage| Box::pin(three_generations_old(stage)),
    },
    Rehearsal {
        name: "Idempotency-Key stolen too",
        attack: "a thief repeats the owner's refresh with its key, and goes on from there",
        end: End::SessionEnds,
        expected: &[
            &[OK, OK, OK, REUSED, SESSION_REVOKED, TOKEN_REVOKED],
            // Without a retry window the key proves nothing.
            &[OK, REUSED, SESSION_REVOKED, SESSION_REVOKED, SESSION_REVOKED, TOKEN_REVOKED],
        ],
        events: &["session.reuse_detected"],
        play: |stage| Box::pin(key_stolen(stage)),
    },
    Rehearsal {
        name: "stolen key, one refresh late",
        attack: "a thief repeats the owner's last but one refresh with its key, then without",
        end: End::SessionEnds,
        expected: &[
            &[OK, OK, "409 REFRESH_RACE", REUSED, SESSION_REVOKED, TOKEN_REVOKED],
            &[OK, OK, REUSED, SESSION_REVOKED, SESSION_REVOKED, TOKEN_REVOKED],
        ],
        events: &["session.reuse_detected"],
        play: |stage| Box::pin(key_stolen_late(stage)),
    },
    Rehearsal {
        name: "50 at once",
        attack: "one refresh token is presented 50 times at the same moment",
        end: End::SessionEnds,
        expected: &[&["1 of 50 exchanged", REUSED, TOKEN_REVOKED]],
        events: &["session.reuse_detected"],
        play: |stage| Box::pin(fifty_at_once(stage)),
    },
];

async fn forged_tag(stage: &mut Stage<'_>) -> Result<(), Failure> {
    let mut owner = stage.sign_in().await?;
    let stranger = owner.with_altered_refresh_token(|token| flip_a_bit(token, TAG_AT));
    stage.attack(stranger.refresh()).await?;
    stage.refresh(&mut owner).await
}

async fn forged_claims(stage: &mut Stage<'_>) -> Result<(), Failure> {
    let mut owner = stage.sign_in().await?;
    let newer = owner.with_altered_refresh_token(|token| flip_a_bit(token, GENERATION_AT));
    stage.attack(newer.refresh()).await?;
    let foreign = owner.with_altered_refresh_token(|token| flip_a_bit(token, SESSION_ID_AT));
    stage.attack(foreign.refresh()).await?;
    stage.refresh(&mut owner).await
}

async fn page_of_another_site(stage: &mut Stage<'_>) -> Result<(), Failure> {
    let mut owner = stage.sign_in().await?;
    stage.attack(owner.refresh().header("origin", "https://drill.invalid")).await?;
    stage.attack(owner.refresh().header("sec-fetch-site", "cross-site")).await?;
    stage.attack(owner.refresh().without(CSRF_HEADER)).await?;
    stage.refresh(&mut owner).await
}

async fn tossed_cookie(stage: &mut Stage<'_>) -> Result<(), Failure> {
    let mut owner = stage.sign_in().await?;
    let sibling = stage.sign_in().await?;
    let cookies = owner.cookies_with_tossed(&sibling);
    stage.attack(owner.refresh().without(COOKIE).header(COOKIE, cookies)).await?;
    stage.refresh(&mut owner).await
}

async fn forged_access_token(stage: &mut Stage<'_>) -> Result<(), Failure> {
    let owner = stage.sign_in().await?;
    let unsigned = owner.with_altered_access_token(|[_, claims, _]| {
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"at+jwt"}"#);
        [header, claims.to_owned(), String::new()]
    });
    stage.attack(unsigned.me()).await?;
    let resigned = owner.with_altered_access_token(|[header, claims, _]| {
        let signature = URL_SAFE_NO_PAD.encode(assembly::random::<64>());
        [header.to_owned(), claims.to_owned(), signature]
    });
    stage.attack(resigned.me()).await?;
    stage.send(owner.me()).await.map(drop)
}

async fn guessed_password(stage: &mut Stage<'_>) -> Result<(), Failure> {
    stage.guess_passwords().await
}

async fn access_token_after_sign_out(stage: &mut Stage<'_>) -> Result<(), Failure> {
    let owner = stage.sign_in().await?;
    let thief = owner.clone();
    stage.send(thief.me()).await?;
    stage.attack_begins();
    stage.send(owner.logout()).await?;
    stage.use_until_refused(&thief).await
}

async fn refresh_after_sign_out(stage: &mut Stage<'_>) -> Result<(), Failure> {
    let owner = stage.sign_in().await?;
    let thief = owner.clone();
    stage.send(owner.logout()).await?;
    stage.attack(thief.refresh()).await
}

async fn after_password_change(stage: &mut Stage<'_>) -> Result<(), Failure> {
    let thief = stage.sign_in().await?;
    let mut owner = stage.sign_in().await?;
    stage.change_password(&mut owner).await?;
    stage.attack(thief.refresh()).await?;
    stage.use_until_refused(&thief).await?;
    stage.refresh(&mut owner).await
}

async fn owner_first(stage: &mut Stage<'_>) -> Result<(), Failure> {
    let mut owner = stage.sign_in().await?;
    let mut thief = owner.clone();
    stage.refresh(&mut owner).await?;
    stage.replay(&mut thief).await?;
    stage.refresh(&mut owner).await?;
    stage.use_until_refused(&thief).await
}

async fn thief_first(stage: &mut Stage<'_>) -> Result<(), Failure> {
    let mut owner = stage.sign_in().await?;
    let mut thief = owner.clone();
    stage.refresh(&mut thief).await?;
    stage.replay(&mut owner).await?;
    stage.refresh(&mut thief).await?;
    stage.use_until_refused(&thief).await
}

async fn three_generations_old(stage: &mut Stage<'_>) -> Result<(), Failure> {
    let mut owner = stage.sign_in().await?;
    let mut thief = owner.clone();
    for _ in 0..3 {
        stage.refresh(&mut owner).await?;
    }
    stage.replay(&mut thief).await?;
    stage.refresh(&mut owner).await?;
    stage.use_until_refused(&thief).await
}

async fn key_stolen(stage: &mut Stage<'_>) -> Result<(), Failure> {
    let mut owner = stage.sign_in().await?;
    let mut thief = owner.clone();
    let keys = [fresh_key(), fresh_key()];
    stage.refresh_with(&mut owner, &keys[0]).await?;
    // From here on both hold the same successor: the key is worth as much as the cookie.
    stage.refresh_with(&mut thief, &keys[0]).await?;
    stage.refresh_with(&mut owner, &keys[1]).await?;
    stage.replay(&mut thief).await?;
    stage.refresh(&mut owner).await?;
    stage.use_until_refused(&thief).await
}

async fn key_stolen_late(stage: &mut Stage<'_>) -> Result<(), Failure> {
    let mut owner = stage.sign_in().await?;
    let mut thief = owner.clone();
    let keys = [fresh_key(), fresh_key()];
    stage.refresh_with(&mut owner, &keys[0]).await?;
    stage.refresh_with(&mut owner, &keys[1]).await?;
    stage.refresh_with(&mut thief, &keys[0]).await?;
    stage.replay(&mut thief).await?;
    stage.refresh(&mut owner).await?;
    stage.use_until_refused(&thief).await
}

async fn fifty_at_once(stage: &mut Stage<'_>) -> Result<(), Failure> {
    let mut owner = stage.sign_in().await?;
    stage.storm(&mut owner, 50).await?;
    stage.use_until_refused(&owner).await
}

fn flip_a_bit(bytes: &mut [u8], at: usize) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1;
    }
}

fn fresh_key() -> String {
    URL_SAFE_NO_PAD.encode(assembly::random::<16>())
}

const OK: &str = "200";
const INVALID_REFRESH_TOKEN: &str = "401 INVALID_REFRESH_TOKEN";
const REUSED: &str = "401 REFRESH_TOKEN_REUSED";
const SESSION_REVOKED: &str = "401 SESSION_REVOKED";
const TOKEN_REVOKED: &str = "401 TOKEN_REVOKED";

/// Where the last bytes of these parts of a refresh token are.
const SESSION_ID_AT: usize = 16;
const GENERATION_AT: usize = 24;
const TAG_AT: usize = 72;

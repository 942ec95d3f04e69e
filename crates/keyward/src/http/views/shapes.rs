//! The shapes of the views.

use keyward_core::keys::KeyPurpose;
use keyward_core::session::{AuthenticationMethod, RevocationReason};

use crate::http::shape::{Kind, Member, Presence, View, maybe, member};

pub(in crate::http) const USER: View = View::new(
    "User",
    &[
        member("id", Kind::Id),
        member("email", Kind::Email),
        member("name", Kind::Nullable(&Kind::Text)),
        member("roles", Kind::List(&Kind::Text)),
        member("emailVerified", Kind::Boolean),
        member("mfaEnabled", Kind::Boolean),
        member("createdAt", Kind::Time),
    ],
);

pub(in crate::http) const ADMIN_USER: View = View::extending(
    &USER,
    "AdminUser",
    &[
        member("disabledAt", Kind::Nullable(&Kind::Time)),
        member("lastLoginAt", Kind::Nullable(&Kind::Time)),
        member("lastLogoutAt", Kind::Nullable(&Kind::Time)),
        member("claims", Kind::Map(&Kind::Any)),
    ],
);

pub(in crate::http) const TOKENS: View = View::new(
    "Tokens",
    &[
        Member { name: "accessToken", kind: Kind::Text, presence: Presence::InBodyDelivery },
        Member {
            name: "tokenType",
            kind: Kind::Names(|| vec!["Bearer"]),
            presence: Presence::InBodyDelivery,
        },
        member("expiresIn", Kind::Integer),
        member("csrfToken", Kind::Text),
    ],
);

pub(in crate::http) const SIGNED_IN: View =
    View::extending(&TOKENS, "SignedIn", &[member("user", Kind::View(&USER))]);

pub(in crate::http) const CHALLENGE: View = View::new(
    "Challenge",
    &[
        member("mfaRequired", Kind::Boolean),
        member("mfaToken", Kind::Text),
        member("methods", Kind::List(&Kind::Names(|| vec!["recovery_code", "totp"]))),
        member("expiresIn", Kind::Integer),
    ],
);

pub(in crate::http) const MESSAGE: View = View::new("Message", &[member("message", Kind::Text)]);

pub(in crate::http) const SIGNED_OUT_EVERYWHERE: View =
    View::extending(&MESSAGE, "SignedOutEverywhere", &[member("revokedSessions", Kind::Integer)]);

pub(in crate::http) const CSRF_TOKEN: View =
    View::new("CsrfToken", &[member("csrfToken", Kind::Text)]);

pub(in crate::http) const SESSION: View = View::new(
    "Session",
    &[
        member("id", Kind::Id),
        member("createdAt", Kind::Time),
        member("lastUsedAt", Kind::Time),
        member("expiresAt", Kind::Time),
        member("ip", Kind::Nullable(&Kind::Text)),
        member("userAgent", Kind::Nullable(&Kind::Text)),
        member("device", Kind::Nullable(&Kind::Text)),
        member("amr", Kind::List(&Kind::Names(methods))),
    ],
);

const OWN_SESSION: View =
    View::extending(&SESSION, "OwnSession", &[member("current", Kind::Boolean)]);

const ENDED_SESSION: View = View::extending(
    &OWN_SESSION,
    "EndedSession",
    &[member("endedAt", Kind::Time), member("reason", Kind::Names(reasons))],
);

pub(in crate::http) const ME: View = View::new(
    "Me",
    &[member("user", Kind::View(&USER)), member("session", Kind::View(&OWN_SESSION))],
);

pub(in crate::http) const ONE_USER: View =
    View::new("OneUser", &[member("user", Kind::View(&USER))]);

pub(in crate::http) const OWN_SESSIONS: View = View::new(
    "OwnSessions",
    &[
        member("sessions", Kind::List(&Kind::View(&OWN_SESSION))),
        member("ended", Kind::List(&Kind::View(&ENDED_SESSION))),
    ],
);

pub(in crate::http) const TOTP_OFFER: View = View::new(
    "TotpOffer",
    &[member("secret", Kind::Text), member("otpauthUri", Kind::Text), member("qrSvg", Kind::Text)],
);

pub(in crate::http) const RECOVERY_CODES: View =
    View::new("RecoveryCodes", &[member("recoveryCodes", Kind::List(&Kind::Text))]);

pub(in crate::http) const INTROSPECTION: View = View {
    name: "Introspection",
    extends: None,
    members: &[
        member("active", Kind::Boolean),
        maybe("token_type", Kind::Text),
        maybe("iss", Kind::Text),
        maybe("aud", Kind::Text),
        maybe("sub", Kind::Id),
        maybe("client_id", Kind::Text),
        maybe("sid", Kind::Id),
        maybe("jti", Kind::Text),
        maybe("iat", Kind::Integer),
        maybe("exp", Kind::Integer),
        maybe("auth_time", Kind::Integer),
        maybe("amr", Kind::List(&Kind::Text)),
        maybe("roles", Kind::List(&Kind::Text)),
        maybe("email", Kind::Email),
    ],
    is_open: true,
};

pub(in crate::http) const ONE_ADMIN_USER: View =
    View::new("OneAdminUser", &[member("user", Kind::View(&ADMIN_USER))]);

pub(in crate::http) const USERS: View =
    View::new("Users", &[member("users", Kind::List(&Kind::View(&ADMIN_USER))), NEXT_CURSOR]);

pub(in crate::http) const SESSIONS: View =
    View::new("Sessions", &[member("sessions", Kind::List(&Kind::View(&SESSION))), NEXT_CURSOR]);

pub(in crate::http) const REVOKED_SESSIONS: View =
    View::new("RevokedSessions", &[member("revokedSessions", Kind::Integer)]);

const EVENT: View = View::new(
    "AuditEvent",
    &[
        member("id", Kind::Integer),
        member("at", Kind::Time),
        member("type", Kind::Text),
        maybe("userId", Kind::Id),
        maybe("sessionId", Kind::Id),
        member("ip", Kind::Nullable(&Kind::Text)),
        member("userAgent", Kind::Nullable(&Kind::Text)),
        member("requestId", Kind::Nullable(&Kind::Text)),
        member("detail", Kind::Any),
    ],
);

pub(in crate::http) const EVENTS: View =
    View::new("AuditEvents", &[member("events", Kind::List(&Kind::View(&EVENT))), NEXT_CURSOR]);

const KEY: View = View::new(
    "Key",
    &[
        member("id", Kind::Text),
        member("purpose", Kind::Names(purposes)),
        member("algorithm", Kind::Text),
        member("state", Kind::Text),
        member("createdAt", Kind::Time),
        member("activatesAt", Kind::Time),
        member("compromisedAt", Kind::Nullable(&Kind::Time)),
        member("goneAt", Kind::Nullable(&Kind::Time)),
    ],
);

pub(in crate::http) const KEYS: View =
    View::new("Keys", &[member("keys", Kind::List(&Kind::View(&KEY))), NEXT_CURSOR]);

pub(in crate::http) const ONE_KEY: View = View::new("OneKey", &[member("key", Kind::View(&KEY))]);

const USER_STATISTICS: View = View::new(
    "UserStatistics",
    &[member("total", Kind::Integer), member("disabled", Kind::Integer)],
);

const SESSION_STATISTICS: View = View::new("SessionStatistics", &[member("live", Kind::Integer)]);

const BUCKET: View =
    View::new("Bucket", &[member("at", Kind::Time), member("counts", Kind::Map(&Kind::Integer))]);

pub(in crate::http) const STATISTICS: View = View::new(
    "Statistics",
    &[
        member("countedAt", Kind::Time),
        member("users", Kind::View(&USER_STATISTICS)),
        member("sessions", Kind::View(&SESSION_STATISTICS)),
        member("buckets", Kind::List(&Kind::View(&BUCKET))),
    ],
);

pub(in crate::http) const HEALTH: View = View::new(
    "Health",
    &[
        member("status", Kind::Names(|| vec!["ok", "ready"])),
        maybe("shared", Kind::Names(|| vec!["reachable", "unreachable"])),
    ],
);

/// Its members are those of RFC 7517, which differ by the kind of key.
pub(in crate::http) const JWK_SET: View =
    View::new("JwkSet", &[member("keys", Kind::List(&Kind::Map(&Kind::Any)))]);

pub(in crate::http) const DESCRIPTION: View = View {
    name: "OpenApi",
    extends: None,
    members: &[member("openapi", Kind::Text)],
    is_open: true,
};

/// What every list ends with.
const NEXT_CURSOR: Member = member("nextCursor", Kind::Nullable(&Kind::Text));

fn methods() -> Vec<&'static str> {
    AuthenticationMethod::ALL.iter().map(|method| method.as_str()).collect()
}

fn reasons() -> Vec<&'static str> {
    RevocationReason::ALL.iter().map(|reason| reason.as_str()).collect()
}

fn purposes() -> Vec<&'static str> {
    KeyPurpose::ALL.iter().map(|purpose| purpose.as_str()).collect()
}

//! What each route is for and what it answers, for the description of the interface.

use http::StatusCode;

use crate::http::shape::{Kind, Member, View, maybe, member};
use crate::http::views::shapes;

/// What a route is for and what it answers where nothing is refused.
#[derive(Debug, Clone, Copy)]
pub(in crate::http) struct Operation {
    /// Its name, for those who generate clients.
    pub(in crate::http) id: &'static str,
    /// One line for a person.
    pub(in crate::http) summary: &'static str,
    /// What may stand in the query.
    pub(in crate::http) query: &'static [Member],
    /// Headers of the request that mean something.
    pub(in crate::http) headers: &'static [Member],
    /// The members of a form, for the one route that takes one.
    pub(in crate::http) form: &'static [Member],
    /// Every answer that is no error. Two with one status are one or the other.
    pub(in crate::http) answers: &'static [Answer],
}

/// An answer that is no error.
#[derive(Debug, Clone, Copy)]
pub(in crate::http) struct Answer {
    pub(in crate::http) status: StatusCode,
    pub(in crate::http) body: Body,
    /// Whether it sets or clears cookies.
    pub(in crate::http) sets_cookies: bool,
    /// Whether an `ETag` names its version.
    pub(in crate::http) has_tag: bool,
}

/// The body of an answer.
#[derive(Debug, Clone, Copy)]
pub(in crate::http) enum Body {
    /// Server-sent events.
    Events,
    /// JSON.
    Json(&'static View),
    /// JSON, as keys are published.
    JwkSet(&'static View),
    /// Nothing.
    Nothing,
}

const fn operation(
    id: &'static str,
    summary: &'static str,
    answers: &'static [Answer],
) -> Operation {
    Operation { id, summary, query: &[], headers: &[], form: &[], answers }
}

const fn answer(status: StatusCode, view: &'static View) -> Answer {
    Answer { status, body: Body::Json(view), sets_cookies: false, has_tag: false }
}

const fn ok(view: &'static View) -> Answer {
    answer(StatusCode::OK, view)
}

const fn nothing(status: StatusCode) -> Answer {
    Answer { status, body: Body::Nothing, sets_cookies: false, has_tag: false }
}

const fn with_cookies(answer: Answer) -> Answer {
    Answer { sets_cookies: true, ..answer }
}

const fn tagged(answer: Answer) -> Answer {
    Answer { has_tag: true, ..answer }
}

const SIGNED_IN: Answer = with_cookies(ok(&shapes::SIGNED_IN));
const SIGNED_UP: Answer = with_cookies(answer(StatusCode::CREATED, &shapes::SIGNED_IN));
const BY_MAIL: Answer = answer(StatusCode::ACCEPTED, &shapes::MESSAGE);
const NOTHING: Answer = nothing(StatusCode::NO_CONTENT);
const NOT_MODIFIED: Answer = tagged(nothing(StatusCode::NOT_MODIFIED));

const PAGE: [Member; 2] = [maybe("limit", Kind::Integer), maybe("cursor", Kind::Text)];

pub(super) const REGISTER: Operation =
    operation("register", "Make an account and sign in", &[SIGNED_UP, BY_MAIL]);
pub(super) const LOGIN: Operation =
    operation("login", "Sign in", &[SIGNED_IN, ok(&shapes::CHALLENGE)]);
pub(super) const LOGIN_MFA: Operation =
    operation("loginMfa", "Go on with a sign-in by a code", &[SIGNED_IN]);
pub(super) const REFRESH: Operation = Operation {
    headers: &[maybe("Idempotency-Key", Kind::Text)],
    ..operation("refresh", "Exchange the refresh token", &[with_cookies(ok(&shapes::TOKENS))])
};
pub(super) const LOGOUT: Operation =
    operation("logout", "Sign out of this session", &[with_cookies(ok(&shapes::MESSAGE))]);
pub(super) const LOGOUT_ALL: Operation = operation(
    "logoutAll",
    "Sign out of every session",
    &[with_cookies(ok(&shapes::SIGNED_OUT_EVERYWHERE))],
);
pub(super) const CSRF: Operation = operation(
    "csrf",
    "The CSRF token of the session, for a page of another origin",
    &[with_cookies(ok(&shapes::CSRF_TOKEN))],
);
pub(super) const ME: Operation = operation("me", "Who is signed in", &[ok(&shapes::ME)]);
pub(super) const UPDATE_ME: Operation =
    operation("updateMe", "Change one's name", &[ok(&shapes::ONE_USER)]);
pub(super) const DELETE_ME: Operation =
    operation("deleteMe", "Delete one's account", &[with_cookies(NOTHING)]);
pub(super) const SESSIONS: Operation =
    operation("sessions", "One's sessions", &[ok(&shapes::OWN_SESSIONS)]);
pub(super) const END_SESSION: Operation =
    operation("endSession", "End one of one's sessions", &[NOTHING]);
pub(super) const CHANGE_PASSWORD: Operation =
    operation("changePassword", "Change one's password; every other session ends", &[SIGNED_IN]);
pub(super) const FORGOT_PASSWORD: Operation =
    operation("forgotPassword", "Ask for a mail that sets a new password", &[BY_MAIL]);
pub(super) const RESET_PASSWORD: Operation = operation(
    "resetPassword",
    "Set a new password by a mailed token; every session ends",
    &[with_cookies(ok(&shapes::MESSAGE))],
);
pub(super) const VERIFY_EMAIL: Operation =
    operation("verifyEmail", "Verify an address by a mailed token", &[ok(&shapes::ONE_USER)]);
pub(super) const SEND_VERIFICATION: Operation =
    operation("sendVerification", "Ask for the mail that verifies the address", &[BY_MAIL]);
pub(super) const BEGIN_TOTP: Operation =
    operation("beginTotp", "Begin to set up an authenticator app", &[ok(&shapes::TOTP_OFFER)]);
pub(super) const CONFIRM_TOTP: Operation = operation(
    "confirmTotp",
    "Enable the authenticator app",
    &[with_cookies(ok(&shapes::RECOVERY_CODES))],
);
pub(super) const REMOVE_TOTP: Operation =
    operation("removeTotp", "Remove the authenticator app", &[with_cookies(NOTHING)]);
pub(super) const REPLACE_RECOVERY_CODES: Operation =
    operation("replaceRecoveryCodes", "Replace the recovery codes", &[ok(&shapes::RECOVERY_CODES)]);
pub(super) const INTROSPECT: Operation = Operation {
    form: &[member("token", Kind::Text)],
    ..operation(
        "introspect",
        "Whether an access token is good at this moment (RFC 7662)",
        &[ok(&shapes::INTROSPECTION)],
    )
};
pub(super) const REVOCATIONS: Operation = Operation {
    headers: &[maybe("Last-Event-ID", Kind::Text)],
    ..operation(
        "revocations",
        "Revocations that matter, and each new one, as server-sent events",
        &[Answer { body: Body::Events, ..nothing(StatusCode::OK) }],
    )
};
pub(super) const ADMIN_USERS: Operation = Operation {
    query: &[
        maybe("email", Kind::Text),
        maybe("role", Kind::Text),
        maybe("disabled", Kind::Boolean),
        PAGE[0],
        PAGE[1],
    ],
    ..operation("adminUsers", "Accounts", &[ok(&shapes::USERS)])
};
pub(super) const ADMIN_CREATE_USER: Operation = operation(
    "adminCreateUser",
    "Make an account",
    &[answer(StatusCode::CREATED, &shapes::ONE_ADMIN_USER)],
);
pub(super) const ADMIN_USER: Operation =
    operation("adminUser", "One account", &[ok(&shapes::ONE_ADMIN_USER)]);
pub(super) const ADMIN_CHANGE_USER: Operation =
    operation("adminChangeUser", "Change an account", &[ok(&shapes::ONE_ADMIN_USER)]);
pub(super) const ADMIN_DELETE_USER: Operation =
    operation("adminDeleteUser", "Delete an account", &[NOTHING]);
pub(super) const ADMIN_SET_ROLES: Operation =
    operation("adminSetRoles", "Set an account's roles", &[ok(&shapes::ONE_ADMIN_USER)]);
pub(super) const ADMIN_DISABLE_USER: Operation = operation(
    "adminDisableUser",
    "Keep a user from signing in, and end their sessions",
    &[ok(&shapes::ONE_ADMIN_USER)],
);
pub(super) const ADMIN_ENABLE_USER: Operation =
    operation("adminEnableUser", "Let a user sign in again", &[ok(&shapes::ONE_ADMIN_USER)]);
pub(super) const ADMIN_OPEN_SESSION: Operation = operation(
    "adminOpenSession",
    "Open a session for a user whom the calling app has signed in",
    &[SIGNED_UP],
);
pub(super) const ADMIN_USER_SESSIONS: Operation = Operation {
    query: &PAGE,
    ..operation("adminUserSessions", "A user's live sessions", &[ok(&shapes::SESSIONS)])
};
pub(super) const ADMIN_REVOKE_USER: Operation =
    operation("adminRevokeUser", "End every session of a user", &[ok(&shapes::REVOKED_SESSIONS)]);
pub(super) const ADMIN_REVOKE_SESSION: Operation =
    operation("adminRevokeSession", "End one session", &[NOTHING]);
pub(super) const ADMIN_AUDIT: Operation = Operation {
    query: &[
        maybe("userId", Kind::Id),
        maybe("sessionId", Kind::Id),
        maybe("type", Kind::Text),
        maybe("since", Kind::Time),
        maybe("until", Kind::Time),
        PAGE[0],
        PAGE[1],
    ],
    ..operation("adminAudit", "The audit log, newest first", &[ok(&shapes::EVENTS)])
};
pub(super) const ADMIN_STATISTICS: Operation = Operation {
    query: &[
        maybe("since", Kind::Time),
        maybe("until", Kind::Time),
        maybe("every", Kind::Names(|| vec!["hour", "day"])),
    ],
    ..operation("adminStatistics", "Counts", &[ok(&shapes::STATISTICS)])
};
pub(super) const ADMIN_KEYS: Operation = Operation {
    query: &PAGE,
    ..operation("adminKeys", "The keys that sign and tag", &[ok(&shapes::KEYS)])
};
pub(super) const ADMIN_ROTATE_KEY: Operation =
    operation("adminRotateKey", "Make a key that signs at once", &[ok(&shapes::ONE_KEY)]);
pub(super) const JWKS: Operation = operation(
    "jwks",
    "The public keys of access tokens",
    &[Answer { body: Body::JwkSet(&shapes::JWK_SET), ..nothing(StatusCode::OK) }],
);
pub(super) const HEALTHZ: Operation =
    operation("healthz", "Whether the process runs", &[ok(&shapes::HEALTH)]);
pub(super) const READYZ: Operation =
    operation("readyz", "Whether the store and its keys can be used", &[ok(&shapes::HEALTH)]);
pub(super) const OPENAPI: Operation =
    operation("openapi", "This description", &[tagged(ok(&shapes::DESCRIPTION)), NOT_MODIFIED]);

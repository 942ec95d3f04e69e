//! Everything that can be recorded: one variant per event, with its name and what belongs to it.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::id::ServiceKeyId;
use crate::service_key::Scope;
use crate::session::RevocationReason;
use crate::time::Timestamp;

/// Everything that can be recorded, with what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
pub enum AuditKind {
    /// Access tokens were refused. Counted: strangers can cause it at will.
    AccessTokenRejected {
        /// How many refusals this event stands for.
        count: u64,
    },
    /// Events whose retention was over were deleted.
    AuditPurged {
        /// Whatever happened before this time is gone, or is going.
        until: Timestamp,
    },
    /// Requests failed the CSRF check. Counted.
    CsrfRejected {
        /// How many refusals this event stands for.
        count: u64,
    },
    /// A user showed that the address is theirs.
    EmailVerified {},
    /// A new key took the place of another.
    KeyRotated {
        /// What the key serves; `master` for the key that seals all others.
        purpose: &'static str,
        /// The new key; `None` for the master key, which has no name.
        #[serde(skip_serializing_if = "Option::is_none")]
        key_id: Option<String>,
        /// Whether the keys before it were marked as being in other hands.
        compromised: bool,
    },
    /// A sign-in failed: wrong password, or an account that is unknown, disabled or unverified.
    LoginFailed {
        /// Why.
        reason: LoginFailure,
    },
    /// A sign-in was refused before any password work. Counted.
    LoginRateLimited {
        /// How many refusals this event stands for.
        count: u64,
    },
    /// A user proved who they are.
    LoginSucceeded {},
    /// A second factor was removed.
    MfaDisabled {},
    /// A second factor was set up.
    MfaEnabled {},
    /// A wrong code was given for a second factor. The limits on trying bound how often.
    MfaFailed {
        /// What kind of code.
        method: MfaMethod,
    },
    /// A code for a second factor was refused before it was looked at. Counted.
    MfaRateLimited {
        /// How many refusals this event stands for.
        count: u64,
    },
    /// A password was right, and a code is asked for.
    MfaRequired {},
    /// A user changed their password.
    PasswordChanged {},
    /// A user set a new password with a mailed token.
    PasswordReset {},
    /// Somebody asked for a mail with which the user can set a new password.
    PasswordResetRequested {},
    /// The operator set a new password for a user.
    PasswordSet {},
    /// A user signed in with a password whose hash cost a guesser too little, and got another hash.
    PasswordRehashed {
        /// What the hash before was made with, such as `bcrypt`.
        scheme: &'static str,
    },
    /// Callers of admin routes were refused: users who are no administrators, service keys without
    /// the scope. Counted: any user can cause it at will.
    PermissionDenied {
        /// How many refusals this event stands for.
        count: u64,
    },
    /// A recovery code took the place of the app's code.
    RecoveryCodeUsed {
        /// How many are left.
        left: u64,
    },
    /// A user was given new recovery codes, and the old ones are good for nothing.
    RecoveryCodesReplaced {},
    /// A token of an ended session was presented.
    RefreshAfterRevocation {
        /// Why the session had been ended.
        reason: RevocationReason,
    },
    /// A token from the future of the store was presented: the store lost writes.
    RefreshAheadOfStore {
        /// Generation of the presented token.
        generation: u64,
        /// Generation that the store knew.
        stored_generation: u64,
    },
    /// A replaced token was presented with an honest proof that came too late, or within the race
    /// window.
    RefreshRaced {
        /// Generation of the presented token.
        generation: u64,
    },
    /// A refresh was refused and nothing changed. Counted where a stranger can cause it.
    RefreshRejected {
        /// Why.
        reason: RefreshRefusal,
        /// How many refusals this event stands for.
        count: u64,
    },
    /// An honest retry got the same successor again.
    RefreshRetried {
        /// Generation of the successor.
        generation: u64,
    },
    /// A service key was made.
    ServiceKeyCreated {
        /// Which.
        service_key_id: ServiceKeyId,
        /// What it is called.
        name: String,
        /// What it may be used for.
        scopes: BTreeSet<Scope>,
    },
    /// A service key was revoked.
    ServiceKeyRevoked {
        /// Which.
        service_key_id: ServiceKeyId,
    },
    /// A session was opened.
    SessionCreated {},
    /// A refresh token was exchanged.
    SessionRefreshed {
        /// Generation of the successor.
        generation: u64,
    },
    /// A replaced token was presented without proof: suspected theft. The session was ended.
    SessionReuseDetected {
        /// Generation of the presented token.
        generation: u64,
        /// Generation of the current token.
        current_generation: u64,
    },
    /// A session was ended.
    SessionRevoked {
        /// Why.
        reason: RevocationReason,
    },
    /// A user was deleted.
    UserDeleted {},
    /// A user was disabled.
    UserDisabled {},
    /// A user was enabled again.
    UserEnabled {},
    /// An account was made.
    UserRegistered {
        /// By whom.
        by: RegisteredBy,
        /// The roles that it was given.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        roles: Vec<String>,
    },
    /// A user's roles were set.
    UserRolesChanged {
        /// The roles before.
        before: Vec<String>,
        /// The roles after.
        after: Vec<String>,
    },
    /// What was counted against an account was forgotten.
    UserUnlocked {},
    /// A user's record was changed, by the user or by an administrator.
    UserUpdated {
        /// What an administrator has changed of it, by the names of the API, sorted.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        fields: Vec<&'static str>,
    },
}

/// Gives each kind of event its name, in one place.
macro_rules! event_names {
    ($($kind:ident = $name:literal,)+) => {
        impl AuditKind {
            /// The name under which the event is stored, listed and documented.
            pub const fn name(&self) -> &'static str {
                match self { $(Self::$kind { .. } => $name,)+ }
            }

            /// Every name of [`AuditKind::name`], sorted: what a filter may ask for.
            pub const NAMES: &'static [&'static str] = &[$($name),+];
        }
    };
}

event_names! {
    AccessTokenRejected = "access_token.rejected",
    AuditPurged = "audit.purged",
    CsrfRejected = "csrf.rejected",
    EmailVerified = "email.verified",
    KeyRotated = "key.rotated",
    LoginFailed = "login.failed",
    LoginRateLimited = "login.rate_limited",
    LoginSucceeded = "login.succeeded",
    MfaDisabled = "mfa.disabled",
    MfaEnabled = "mfa.enabled",
    MfaFailed = "mfa.failed",
    MfaRateLimited = "mfa.rate_limited",
    MfaRequired = "mfa.required",
    PasswordChanged = "password.changed",
    PasswordRehashed = "password.rehashed",
    PasswordReset = "password.reset",
    PasswordResetRequested = "password.reset_requested",
    PasswordSet = "password.set",
    PermissionDenied = "permission.denied",
    RecoveryCodeUsed = "recovery_code.used",
    RecoveryCodesReplaced = "recovery_codes.replaced",
    RefreshAfterRevocation = "refresh.after_revocation",
    RefreshAheadOfStore = "refresh.ahead_of_store",
    RefreshRaced = "refresh.raced",
    RefreshRejected = "refresh.rejected",
    RefreshRetried = "refresh.retried",
    ServiceKeyCreated = "service_key.created",
    ServiceKeyRevoked = "service_key.revoked",
    SessionCreated = "session.created",
    SessionRefreshed = "session.refreshed",
    SessionReuseDetected = "session.reuse_detected",
    SessionRevoked = "session.revoked",
    UserDeleted = "user.deleted",
    UserDisabled = "user.disabled",
    UserEnabled = "user.enabled",
    UserRegistered = "user.registered",
    UserRolesChanged = "user.roles_changed",
    UserUnlocked = "user.unlocked",
    UserUpdated = "user.updated",
}

/// Why a sign-in failed. The answer to the client does not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LoginFailure {
    /// The account is disabled; the password was right.
    AccountDisabled,
    /// The address was never shown to be the user's, which the policy asks for; the password was
    /// right.
    EmailNotVerified,
    /// No account has this address.
    UnknownAccount,
    /// The password was wrong.
    WrongPassword,
}

/// What a sign-in can go on with after the password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MfaMethod {
    /// A recovery code.
    RecoveryCode,
    /// A code of an authenticator app.
    Totp,
}

/// Why a refresh was refused without anything being changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RefreshRefusal {
    /// The session had timed out; the token was the current one.
    Expired,
    /// The session had timed out; the token had been replaced before that.
    ExpiredAndSpent,
    /// The text is not a token of ours.
    Junk,
    /// The tag is good, but there is no such session.
    UnknownSession,
}

/// Who made an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RegisteredBy {
    /// An administrator, or a service by its key; the event's `actor` says which.
    Admin,
    /// The command line.
    Operator,
    /// The user.
    User,
}

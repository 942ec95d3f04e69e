//! What a user is written about.

use std::fmt;

use keyward_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// A mail to somebody. It is kept sealed, since a token may be in it, and an address always is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// The address that it goes to.
    pub to: String,
    /// What its reader is called. `None` for an unverified address: whoever gave it may have chosen
    /// the name as a message to a stranger, in our letter.
    pub name: Option<String>,
    /// What it is about.
    pub mail: Mail,
}

impl Letter {
    pub(crate) fn to_json(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(serde_json::to_vec(self).expect("a letter is made of texts and numbers"))
    }

    /// `None` for what another version of the service has written.
    pub(crate) fn from_json(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

impl fmt::Debug for Letter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Letter({})", self.mail.name())
    }
}

/// What a mail is about, with what belongs to it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mail {
    /// Another address took the place of this one in an account. It goes to the one before.
    AddressChanged(Occasion),
    /// Somebody wanted to register with the address of an account that is there.
    AddressTaken,
    /// A sign-in from a device that was not seen before.
    NewDevice(Occasion),
    /// The user changed the password, or set a new one.
    PasswordChanged(Occasion),
    /// New recovery codes took the place of the old ones.
    RecoveryCodesReplaced(Occasion),
    /// A link with which the user can set a new password.
    ResetPassword {
        /// The one-time token.
        token: String,
    },
    /// Signing in no longer takes a second factor.
    SecondFactorDisabled(Occasion),
    /// Signing in takes a second factor from now on.
    SecondFactorEnabled(Occasion),
    /// A link by which the user shows that the address is theirs.
    VerifyAddress {
        /// The one-time token.
        token: String,
    },
}

impl Mail {
    /// Every name of [`Mail::name`]: what templates are called.
    pub const NAMES: &'static [&'static str] = &[
        "address_changed",
        "address_taken",
        "new_device",
        "password_changed",
        "recovery_codes_replaced",
        "reset_password",
        "second_factor_disabled",
        "second_factor_enabled",
        "verify_address",
    ];

    /// What its templates are called.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::AddressChanged(_) => "address_changed",
            Self::AddressTaken => "address_taken",
            Self::NewDevice(_) => "new_device",
            Self::PasswordChanged(_) => "password_changed",
            Self::RecoveryCodesReplaced(_) => "recovery_codes_replaced",
            Self::ResetPassword { .. } => "reset_password",
            Self::SecondFactorDisabled(_) => "second_factor_disabled",
            Self::SecondFactorEnabled(_) => "second_factor_enabled",
            Self::VerifyAddress { .. } => "verify_address",
        }
    }
}

impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mail({})", self.name())
    }
}

/// When something happened, and where from. Nothing in it is a text that a stranger chose: a mail
/// of ours must not carry their words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Occasion {
    /// When, in milliseconds since 1970.
    pub at_millis: i64,
    /// The network address.
    pub ip: Option<String>,
    /// What kind of device, in words of ours such as `Firefox on Linux`; never the header that the
    /// browser sent.
    pub device: Option<String>,
}

impl Occasion {
    /// At this time, from this network address.
    pub fn new(at: Timestamp, ip: Option<String>) -> Self {
        Self { at_millis: at.millis(), ip, device: None }
    }
}

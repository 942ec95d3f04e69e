//! Which passwords are accepted. How they are hashed is the service's business.
//!
//! No composition rules and no forced changes (NIST SP 800-63B-4, section 3.1.1): a length, and a
//! refusal of what is guessed first.

mod common;

use std::fmt;

use unicode_normalization::UnicodeNormalization as _;
use zeroize::Zeroizing;

/// The longest password in bytes of UTF-8, as it is typed. A bound against costly input, far
/// beyond the 128 characters that every client may count on.
pub const PASSWORD_BYTES_MAX: usize = 1024;

/// The values that steer which new passwords are accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasswordPolicy {
    /// The least number of characters; at least 8.
    pub min_length: usize,
}

impl Default for PasswordPolicy {
    fn default() -> Self {
        Self { min_length: 8 }
    }
}

/// A password as a person typed it, and in NFC (SP 800-63B-4), so that two keyboards agree.
pub struct Password {
    normal: Zeroizing<String>,
    /// Where NFC has changed it.
    typed: Option<Zeroizing<String>>,
}

impl Password {
    /// Normalises what was typed. `None` where it is longer than [`PASSWORD_BYTES_MAX`].
    pub fn parse(typed: &str) -> Option<Self> {
        // Normalising first would let long input cost more than it may.
        if typed.len() > PASSWORD_BYTES_MAX {
            return None;
        }
        // NFC at most triples the length; memory that had to grow would leave a copy behind.
        let mut normal = Zeroizing::new(String::with_capacity(3 * PASSWORD_BYTES_MAX));
        normal.extend(typed.nfc());
        let typed = (*normal != typed).then(|| Zeroizing::new(typed.to_owned()));
        Some(Self { normal, typed })
    }

    /// The bytes for the hash. Keep them out of logs and errors.
    pub fn expose(&self) -> &str {
        &self.normal
    }

    /// The text before it was normalised, for hashes of systems that did not. Keep it out of logs
    /// and errors.
    pub fn expose_typed(&self) -> &str {
        self.typed.as_ref().unwrap_or(&self.normal)
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

/// Why a new password is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasswordRefusal {
    /// In the operator's list of leaked passwords.
    Breached,
    /// Among the first that anyone would guess, or close to the account's own data.
    Guessable,
    /// Fewer characters than the policy asks for.
    TooShort {
        /// How many it asks for.
        min_length: usize,
    },
}

impl PasswordPolicy {
    /// Judges a new password. `context` is what a guesser knows of the account: address, name.
    ///
    /// # Errors
    ///
    /// The first reason to refuse it.
    pub fn judge(&self, password: &Password, context: &[&str]) -> Result<(), PasswordRefusal> {
        if password.normal.chars().count() < self.min_length {
            return Err(PasswordRefusal::TooShort { min_length: self.min_length });
        }
        if common::is_common(&password.normal) {
            return Err(PasswordRefusal::Guessable);
        }
        let words = context_words(context);
        let rest = without(&password.normal, &words);
        let is_guessable = is_guessable(&password.normal, &words)
            || rest.is_some_and(|rest| is_guessable(&rest, &[]));
        if is_guessable { Err(PasswordRefusal::Guessable) } else { Ok(()) }
    }
}

/// Whether a guesser who knows these words needs less than a million guesses.
fn is_guessable(text: &str, words: &[&str]) -> bool {
    // Bounded, since the estimator's time grows faster than its input.
    let mut head: Zeroizing<String> = Zeroizing::new(text.chars().take(100).collect());
    if readings(&head) > READINGS_MAX {
        head = Zeroizing::new(head.chars().map(unshifted).collect());
    }
    zxcvbn::zxcvbn(&head, words).score() < zxcvbn::Score::Two
}

/// The account's data, whole and in parts: of `ada.lovelace@example.org` also `ada.lovelace`, `ada`
/// and `lovelace`.
fn context_words<'a>(context: &[&'a str]) -> Vec<&'a str> {
    let locals = context.iter().filter_map(|text| Some(text.rsplit_once('@')?.0));
    let parts = context.iter().flat_map(|text| text.split(|char: char| !char.is_alphanumeric()));
    let words = context.iter().copied().chain(locals).chain(["keyward"]).chain(parts);
    words.filter(|word| word.chars().count() > 2).take(64).collect()
}

/// What is left of a password without the account's data: letters and digits, and behind them what
/// stood between. `None` where it holds none of the words.
///
/// The estimator takes each part, and each character between parts, for a guess of its own; but who
/// knows the account tries `lovelace.ada` and the like first.
fn without(password: &str, words: &[&str]) -> Option<Zeroizing<String>> {
    let whole = plain(password);
    let mut words: Vec<_> = words.iter().map(|word| plain(word)).collect();
    words.retain(|word| word.chars().count() > 2);
    words.sort_unstable_by_key(|word| std::cmp::Reverse(word.len()));
    let mut rest = whole.clone();
    for word in &words {
        rest = Zeroizing::new(rest.replace(&**word, ""));
    }
    let between = password.chars().filter(|char| !char.is_alphanumeric());
    (rest.len() < whole.len()).then(|| Zeroizing::new(rest.chars().chain(between).collect()))
}

/// The letters and digits of a text in one form.
fn plain(text: &str) -> Zeroizing<String> {
    // A small letter may take a byte more, and its normal form three times as many.
    let mut plain = Zeroizing::new(String::with_capacity(6 * text.len()));
    let lower = text.chars().flat_map(char::to_lowercase).nfc();
    plain.extend(lower.filter(|char| char.is_alphanumeric()));
    plain
}

/// In how many ways the estimator reads a text that has symbols and digits in place of letters. It
/// tries all of them, so that twenty such characters would cost it seconds.
fn readings(text: &str) -> usize {
    let ways = |stand_ins: &&str| stand_ins.chars().filter(|char| text.contains(*char)).count();
    STAND_INS.iter().map(ways).filter(|ways| *ways > 0).product()
}

/// The character on the same key of a common keyboard without shift, for the symbols that stand in
/// for letters and their neighbours: what is typed along a row stays along a row.
fn unshifted(char: char) -> char {
    const SHIFTED: &str = "!@#$%^&*()_+{}|<>?";
    const PLAIN: &str = "1234567890-=[]\\,./";
    let key = SHIFTED.chars().position(|shifted| shifted == char);
    key.and_then(|key| PLAIN.chars().nth(key)).unwrap_or(char)
}

/// What the estimator takes for `a b c e g i l o s t x z`. Without shift at most four readings are
/// left of them.
const STAND_INS: [&str; 12] =
    ["4@", "8", "({[<", "3", "69", "1!|", "1|7", "0", "$5", "+7", "%", "2"];

/// More than a guessable password has; the estimator then needs about as long as a hash.
const READINGS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(typed: &str) -> Result<(), PasswordRefusal> {
        let password = Password::parse(typed).expect("short enough");
        PasswordPolicy::default().judge(&password, &["ada.lovelace@example.org", "Ada Lovelace"])
    }

    #[test]
    fn accepts_length_without_composition_rules() {
        for typed in
            ["zimtkringel im regen", "9025718360429", "ἄνδρα μοι ἔννεπε", "🦀🦀🐍🦀🐙🦀🦑🦀"]
        {
            assert_eq!(judge(typed), Ok(()), "{typed}");
        }
        assert_eq!(judge(&"word salad ".repeat(90)), Ok(()));
    }

    #[test]
    fn refuses_what_is_short_or_guessed_first() {
        assert_eq!(judge("q7#kzPw"), Err(PasswordRefusal::TooShort { min_length: 8 }));
        for typed in ["password", "password1", "12345678", "qwertyuiop", "lovelace", "adalovelace"]
        {
            assert_eq!(judge(typed), Err(PasswordRefusal::Guessable), "{typed}");
        }
    }

    /// Whole, in parts, in another order, and with anything between.
    #[test]
    fn refuses_the_accounts_own_data_however_it_is_put_together() {
        for (email, name, typed) in [
            ("john.smithson@example.org", "", "john.smithson"),
            ("john.smithson@example.org", "", "Smithson, John"),
            ("john.smithson@example.org", "", "j-o-h-n-s-m-i-t-h-s-o-n"),
            ("john.smithson@example.org", "", "john.smithson@example.org!"),
            ("johnsmithson@example.org", "", "john.smith.son"),
            ("sebastian.kowalski@example.org", "", "sebastian.kowalski"),
            ("wilhelmina-krasinski@example.org", "", "wilhelmina-krasinski"),
            ("anneliese_kranzbuehler@example.org", "", "Anneliese_Kranzbuehler1"),
            ("anneliese_kranzbuehler@example.org", "", "kranzbuehler.1987"),
            ("zebedee@example.org", "Zebedee Quuxington", "Quuxington Zebedee"),
            ("zq@example.org", "Zebedee Ann Quuxington", "ann.quuxington.zebedee"),
            ("søren+news@example.org", "", "søren_news"),
            ("ada@example.org", "", "ada-example-keyward"),
        ] {
            let password = Password::parse(typed).expect("short enough");
            let judged = PasswordPolicy::default().judge(&password, &[email, name]);
            assert_eq!(judged, Err(PasswordRefusal::Guessable), "{typed} of {email}, {name}");
        }
    }

    /// What is added counts for what it is.
    #[test]
    fn accepts_the_accounts_own_data_beside_enough_else() {
        for typed in [
            "lovelace zimtkringel im regen",
            "ada.lovelace steht im regen",
            "canada-geese-migrate",
            "ada%§?!&/$_lovelace",
            "Lovelace-k7Qx2vPw",
        ] {
            assert_eq!(judge(typed), Ok(()), "{typed}");
        }
    }

    #[test]
    fn no_text_has_more_readings_than_can_be_tried() {
        assert_eq!(readings("password"), 1);
        assert_eq!(readings("p4ssw0rd 4@"), 2);
        let worst = STAND_INS.concat();
        assert_eq!(readings(&worst), 2 * 4 * 2 * 3 * 3 * 2 * 2);
        let plain: String = worst.chars().map(unshifted).collect();
        assert!(readings(&plain) <= READINGS_MAX, "{plain}");
        assert_eq!(judge(&worst.repeat(9)), Ok(()));
        for typed in ["!@#$%^&*()", "!@#$%^&*()_+"] {
            assert_eq!(judge(typed), Err(PasswordRefusal::Guessable), "{typed}");
        }
        assert!(readings("!@#$%^&*()_+{}|<>?1746") > READINGS_MAX);
    }

    #[test]
    fn composed_and_decomposed_letters_are_one_password() {
        let composed = Password::parse("caf\u{e9} noisette").expect("short enough");
        let decomposed = Password::parse("cafe\u{301} noisette").expect("short enough");
        assert_eq!(composed.expose(), decomposed.expose());
        assert_eq!(composed.expose_typed(), composed.expose());
        assert_eq!(decomposed.expose_typed(), "cafe\u{301} noisette");
    }

    #[test]
    fn a_hundred_and_twenty_eight_characters_fit_whatever_they_are() {
        // The character that grows most when it is normalised: from four bytes to twelve.
        let password = Password::parse(&"\u{1d160}".repeat(128)).expect("128 characters");
        assert_eq!(password.expose().len(), 128 * 12);
    }

    #[test]
    fn refuses_what_is_too_long_to_be_looked_at() {
        assert!(Password::parse(&"a".repeat(PASSWORD_BYTES_MAX)).is_some());
        assert!(Password::parse(&"a".repeat(PASSWORD_BYTES_MAX + 1)).is_none());
    }
}

//! E-mail addresses, as far as a sign-in needs to understand them.

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

use crate::text::misleads;

/// The longest address in bytes: a path is at most 256, its angle brackets included (RFC 5321,
/// section 4.5.3.1.3).
pub const EMAIL_BYTES_MAX: usize = 254;

/// An address that a person gave, in a form that can be shown and a form that can be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Email {
    shown: String,
    key: String,
}

impl Email {
    /// Reads an address. `None` where it cannot be one: it is compared and mailed to, so anything
    /// that could mean or look like something else elsewhere (spaces, control characters, invisible
    /// ones) is out. Whatever it lets through may stand between angle brackets in a command to a
    /// mail server.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > EMAIL_BYTES_MAX || text.chars().any(is_unfit) {
            return None;
        }
        // Some keyboards type a letter and its accent apart. Either form can turn a character into
        // another: the Greek question mark becomes a semicolon.
        let shown: String = text.nfc().collect();
        let key = folded(text);
        let fits = is_address(&shown) && is_address(&key);
        fits.then_some(Self { shown, key })
    }

    /// What the [`Email::key`] of every address begins with that begins with this text. `None`
    /// where no address does.
    pub fn key_of_prefix(text: &str) -> Option<String> {
        let key = folded(text);
        let fits = text.len() <= EMAIL_BYTES_MAX && !key.is_empty() && !key.chars().any(is_unfit);
        fits.then_some(key)
    }

    /// The address as it was given, in NFC: what is mailed to is what is compared, but for case.
    /// Otherwise whoever registers an address apart would hold the one that is written together,
    /// and the mail for its owner would go elsewhere.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// The form in which two addresses of one account are equal.
    pub fn key(&self) -> &str {
        &self.key
    }
}

/// In NFC before, so that both forms have one key, and after: lower-casing can undo it.
fn folded(text: &str) -> String {
    text.nfc().collect::<String>().to_lowercase().nfc().collect()
}

fn is_address(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    text.len() <= EMAIL_BYTES_MAX
        && (1..=64).contains(&local.len())
        && !local.contains('@')
        // It would be a mark on whatever the address is written behind.
        && !local.starts_with(is_combining_mark)
        && !text.chars().any(is_unfit)
        && is_domain(domain)
}

fn is_unfit(char: char) -> bool {
    misleads(char) || is_joiner(char) || char.is_whitespace() || "\"(),:;<>[\\]".contains(char)
}

/// Letters of some scripts join or not by these; in an address they are two texts that look alike.
fn is_joiner(char: char) -> bool {
    matches!(char, '\u{200c}' | '\u{200d}')
}

fn is_domain(domain: &str) -> bool {
    !domain.is_empty()
        && domain.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && !label.starts_with('-')
                && !label.ends_with('-')
                && is_spelt(label)
        })
}

/// Letters, digits, hyphens, and marks such as those that scripts of India are written with. Not
/// marks on ASCII: where such a letter is written, it is one character. Some marks are counted as
/// letters too, and are marks here.
fn is_spelt(label: &str) -> bool {
    let mut before = '-';
    label.chars().all(|char| {
        let behind = std::mem::replace(&mut before, char);
        if is_combining_mark(char) {
            !is_ornament(char) && !behind.is_ascii()
        } else {
            char.is_alphanumeric() || char == '-'
        }
    })
}

/// Marks that cannot be seen, choose another form, or enclose a letter: no domain has one (RFC
/// 5892, section 2).
fn is_ornament(char: char) -> bool {
    matches!(char,
        '\u{34f}' | '\u{488}'..='\u{489}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{1abe}' | '\u{20dd}'..='\u{20e4}' | '\u{a670}'..='\u{a672}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compares_without_case() {
        let shouted = Email::parse("Ada@Example.ORG").expect("an address");
        assert_eq!(shouted.key(), "ada@example.org");
        assert_eq!(shouted.shown(), "Ada@Example.ORG");
    }

    #[test]
    fn a_prefix_compares_as_addresses_do() {
        assert_eq!(Email::key_of_prefix("Ada@Ex").as_deref(), Some("ada@ex"));
        for text in ["", " ", "a b", "a\0", "a,", &"a".repeat(EMAIL_BYTES_MAX + 1)] {
            assert_eq!(Email::key_of_prefix(text), None, "{text:?}");
        }
    }

    #[test]
    fn refuses_what_cannot_be_an_address() {
        for text in [
            "",
            "@",
            "a@",
            "@b",
            "a b@c.d",
            "a@b@c",
            "a@b..c",
            "a@.b",
            "a@b.",
            "a@-b",
            "a\r\n@b.c",
            "a\0@b.c",
            "<a@b.c>",
            "a@b c",
            "a@b,c",
            "\"a\"@b.c",
            "a@[127.0.0.1]",
            "a@b\u{202e}.c",
            "a\u{202e}@b.c",
            "a\u{200b}@b.c",
            "a\u{200d}@b.c",
            "a\u{37e}b@c.d",
            "a@İ.b",
            "a@\u{94d}ह.b",
            "a@o\u{338}.b",
            "a@न\u{fe0f}.b",
            "a@न\u{34f}.b",
            "a@न\u{20dd}.b",
            "a@a\u{345}α.org",
            "a@b\u{363}.org",
            "a@\u{93f}ह.org",
            "a@ह.\u{93f}ह.org",
            "a@ह-\u{93f}.org",
            "\u{338}a@b.c",
        ] {
            assert_eq!(Email::parse(text), None, "{text:?}");
        }
        assert_eq!(Email::parse(&format!("{}@b.c", "a".repeat(65))), None);
        assert_eq!(Email::parse(&format!("a@{}", "b.".repeat(150) + "c")), None);
        assert!(Email::parse("a@localhost").is_some());
        assert!(Email::parse("søren+x@exämple.org").is_some());
    }

    /// Mail must reach the address that the key stands for, and not one that only looks like it.
    #[test]
    fn is_shown_as_it_is_compared_but_for_case() {
        let apart = Email::parse("Zoe\u{308}@X.org").expect("an address");
        assert_eq!((apart.shown(), apart.key()), ("Zoë@X.org", "zoë@x.org"));
        assert_eq!(Some(apart), Email::parse("Zoë@X.org"));
    }

    /// Both are written between angle brackets in a command of one line.
    #[test]
    fn no_character_of_an_address_ends_it() {
        for char in ('\0'..'\u{3100}').chain('\u{fe00}'..='\u{ffff}') {
            for text in [format!("a{char}a@b.c"), format!("a@b{char}b.c")] {
                let Some(email) = Email::parse(&text) else { continue };
                for form in [email.shown(), email.key()] {
                    let is_unfit = |char: char| {
                        char.is_control() || char.is_whitespace() || "\"(),:;<>[\\]".contains(char)
                    };
                    assert!(!form.contains(is_unfit), "{text:?}");
                    assert_eq!(form.matches('@').count(), 1, "{text:?}");
                }
            }
        }
    }

    #[test]
    fn takes_domains_of_any_script_in_either_form() {
        for text in ["a@हिन्दी.भारत", "a@தமிழ்.இந்தியா", "a@ไทย.ไทย", "a@ẹ̀kọ́.ng", "a@пример.рф"]
        {
            assert!(Email::parse(text).is_some(), "{text:?}");
        }
        let apart = Email::parse("a@exa\u{308}mple.org").expect("an address");
        assert_eq!(apart.key(), "a@exämple.org");
        assert_eq!(apart.shown(), "a@exämple.org");
        let dotted = Email::parse("a@\u{9b0}\u{9bc}.b").map(|email| email.key().to_owned());
        assert_eq!(dotted.as_deref(), Some("a@\u{9b0}\u{9bc}.b"));
    }
}

//! Text from strangers, where people will read it.

/// Whether a character could make text look like something else: control characters, invisible
/// ones, and those that change the direction of what follows. Not the joiners that Persian and many
/// scripts of India are written with.
pub fn misleads(char: char) -> bool {
    char.is_control() || UNSEEN.iter().any(|range| range.contains(&char))
}

/// Whether a text can be what a user wants to be called: 1 to [`NAME_CHARS_MAX`] characters, one of
/// them at least to be seen, and none that misleads.
pub fn is_name(text: &str) -> bool {
    !text.trim().is_empty() && text.chars().count() <= NAME_CHARS_MAX && !text.chars().any(misleads)
}

/// Whether a text can be a role: 1 to [`ROLE_BYTES_MAX`] letters, digits and `-_.:`. A role travels
/// in tokens and is compared byte for byte, so it has one plain form.
pub fn is_role(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    (1..=ROLE_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_plain)
}

/// The longest role in bytes.
pub const ROLE_BYTES_MAX: usize = 64;

/// The most roles of one user, so that every token fits the length that verifiers look at, and a
/// cookie.
pub const ROLES_MAX: usize = 16;

/// The longest name in characters.
pub const NAME_CHARS_MAX: usize = 100;

/// Soft hyphen, marks of direction, spaces of no width, separators, annotations, tags.
const UNSEEN: &[std::ops::RangeInclusive<char>] = &[
    '\u{ad}'..='\u{ad}',
    '\u{61c}'..='\u{61c}',
    '\u{180e}'..='\u{180e}',
    '\u{200b}'..='\u{200b}',
    '\u{200e}'..='\u{200f}',
    '\u{2028}'..='\u{202e}',
    '\u{2060}'..='\u{206f}',
    '\u{feff}'..='\u{feff}',
    '\u{fff9}'..='\u{fffb}',
    '\u{e0000}'..='\u{e007f}',
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_of_any_script_do_not_mislead() {
        assert!(!"نیلوفر\u{200c}ها क्\u{200d}ष".chars().any(misleads));
        assert!(!"Zoë Ångström, 李雷 👩 שלום عرب हिन्दी".chars().any(misleads));
        for char in "\0\n\u{1b}\u{7f}\u{85}\u{ad}\u{200b}\u{202e}\u{2066}\u{feff}\u{e0041}".chars()
        {
            assert!(misleads(char), "{char:?}");
        }
    }

    #[test]
    fn a_role_is_plain() {
        assert!(is_role("admin") && is_role("team:a-1_b.C") && is_role(&"a".repeat(64)));
        for text in ["", " ", "two words", "a\n", "ä", "a/b", "\"", &"a".repeat(65)] {
            assert!(!is_role(text), "{text:?}");
        }
    }

    #[test]
    fn a_name_is_short_and_can_be_seen() {
        assert!(is_name("Ada Lovelace") && is_name(&"ä".repeat(NAME_CHARS_MAX)));
        for text in ["", " ", "a\nb", "a\u{202e}b", &"a".repeat(NAME_CHARS_MAX + 1)] {
            assert!(!is_name(text), "{text:?}");
        }
    }
}

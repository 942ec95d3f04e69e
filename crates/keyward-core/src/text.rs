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
    fn a_name_is_short_and_can_be_seen() {
        assert!(is_name("Ada Lovelace") && is_name(&"ä".repeat(NAME_CHARS_MAX)));
        for text in ["", " ", "a\nb", "a\u{202e}b", &"a".repeat(NAME_CHARS_MAX + 1)] {
            assert!(!is_name(text), "{text:?}");
        }
    }
}

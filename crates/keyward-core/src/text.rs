//! Text that strangers send and people read.

/// Whether a character can make text look like something else: control characters, characters of
/// no width, and those that turn the direction of writing.
pub fn misleads(char: char) -> bool {
    char.is_control()
        || matches!(
            char,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_of_any_script_do_not_mislead() {
        assert!("Zoë 李 Ωμέγα עברית 🦀".chars().all(|char| !misleads(char)));
        for char in ['\0', '\n', '\u{1b}', '\u{85}', '\u{200b}', '\u{202e}', '\u{feff}'] {
            assert!(misleads(char), "{char:?}");
        }
    }
}

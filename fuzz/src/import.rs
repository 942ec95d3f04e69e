//! What comes from other systems: the lines of an import, and the hashes in them.

use keyward::hashing::adopt;
use keyward_server::danger_for_tests::ImportLine;

/// A line is a user within bounds, or refused in a clause that repeats nothing of it.
pub(crate) fn import_line(data: &[u8]) {
    match ImportLine::parse(data, None) {
        Ok(line) => {
            assert!(line.roles.is_sorted() && line.roles.len() <= 16, "roles");
            assert!(serde_json::json!(line.claims).to_string().len() <= 768, "claims");
            assert!(!line.claims.contains_key("sub"), "a reserved claim");
            assert!(!format!("{line:?}").contains("$2b$"), "it shows a hash");
        }
        Err(why) => {
            assert!(!why.is_empty() && why.len() < 200, "no clause: {why}");
            assert!(!why.contains(char::is_control), "it steers a terminal: {why:?}");
        }
    }
}

/// A hash is taken as it is, or refused in a clause; what was taken would be taken again.
pub(crate) fn password_hash(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match adopt(text, None) {
        Ok(hash) => {
            assert!(text.ends_with(hash.as_phc()), "another hash than the given one");
            assert_eq!(adopt(hash.as_phc(), None), Ok(hash.clone()));
            assert_eq!(format!("{hash:?}"), "PasswordHash", "it shows itself");
        }
        Err(unfit) => assert!(unfit.to_string().len() < 100, "{unfit}"),
    }
}

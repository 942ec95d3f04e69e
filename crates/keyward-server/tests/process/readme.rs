//! The session of the README, pasted into a shell: it prints what the README says.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::place::{BINARY, Place, SERVE};

#[test]
fn a_service_in_development_begins_with_the_line_of_the_readme() {
    let promised = "keyward serves http://localhost:8080 and listens on http://127.0.0.1:8080";
    assert!(readme().contains(&format!("`{promised}`")));
    let place = Place::new();
    let service = place.start(&mut place.keyward(&SERVE));
    let port = service.address.port().to_string();
    assert_eq!(service.printed().trim_end(), promised.replace("8080", &port));
    let issuer = service.register("ada@example.org").claim("iss");
    assert_eq!(issuer, format!("http://localhost:{port}"));
    service.stop();
}

#[test]
fn the_session_of_the_readme_prints_what_it_says() {
    let readme = readme();
    let pasted = block(&readme, "sh", "base=");
    let promised = block(&readme, "text", "");
    require(&["curl", "awk", "sed", "bash"]);

    let place = Place::new();
    let service = place.start(&mut place.keyward(&SERVE));
    let address = service.address.to_string();
    let script = replaced(pasted, "127.0.0.1:8080", &address);
    // Refusals are written down beside the requests, seconds before a person asks for them.
    let audit = format!(
        "for try in {{1..1000}}; do
           '{BINARY}' audit --type access_token.rejected | grep -q 127.0.0.1 && break
         done
         '{BINARY}' audit"
    );
    let script = replaced(&script, "cargo run --release --quiet -- audit", &audit);
    let output = Command::new("bash")
        .args(["-c", &script])
        .current_dir(place.path())
        .env("TMPDIR", place.path())
        .stdin(Stdio::null())
        .output()
        .expect("bash runs");
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaints.is_empty(), "{complaints}");
    service.stop();

    let printed = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(normal(&printed), normal(promised), "in full:\n{printed}");
}

fn readme() -> String {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    fs::read_to_string(readme).expect("a README")
}

/// The first code block of this language whose text begins like this.
pub(crate) fn block<'a>(readme: &'a str, language: &str, beginning: &str) -> &'a str {
    let fence = format!("```{language}\n{beginning}");
    let at = readme.find(&fence).unwrap_or_else(|| panic!("no block begins with {fence}"));
    let text = &readme[at + "```\n".len() + language.len()..];
    &text[..text.find("```").expect("the block ends")]
}

pub(crate) fn replaced(script: &str, from: &str, to: &str) -> String {
    assert!(script.contains(from), "the session does not hold {from}");
    script.replace(from, to)
}

pub(crate) fn require(programs: &[&str]) {
    let path = std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/bin:/bin"));
    for program in programs {
        let is_there = std::env::split_paths(&path).any(|folder| folder.join(program).exists());
        assert!(is_there, "{program} is missing: install it, like `apt-get install {program}`");
    }
}

/// The text with what differs from run to run replaced: ids, times, request ids, the version of
/// curl and the width of columns. Ids that were the same stay the same.
fn normal(text: &str) -> String {
    let mut ids: Vec<&str> = Vec::new();
    let mut normal = String::new();
    for piece in text.split_inclusive(|char| !is_of_word(char)) {
        let word = piece.trim_end_matches(|char| !is_of_word(char));
        if is_id(word) {
            let number = ids.iter().position(|id| *id == word).unwrap_or_else(|| {
                ids.push(word);
                ids.len() - 1
            });
            normal.push_str(&format!("<id {number}>"));
        } else if is_time(word) {
            normal.push_str("<time>");
        } else if is_request_id(word) {
            normal.push_str("<request id>");
        } else if !normal.ends_with("curl/") {
            normal.push_str(word);
        }
        let separator = &piece[word.len()..];
        if separator != " " || !normal.ends_with(' ') {
            normal.push_str(separator);
        }
    }
    normal
}

fn is_of_word(char: char) -> bool {
    char.is_ascii_alphanumeric() || matches!(char, '-' | '_' | ':' | '.')
}

fn is_id(word: &str) -> bool {
    word.len() == 36 && word.split('-').map(str::len).eq([8, 4, 4, 4, 12])
}

/// Such as `2027-01-15T08:00:00.25Z`.
fn is_time(word: &str) -> bool {
    let digits: String = word.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    digits.starts_with("0000-00-00T00:00:00") && digits.ends_with('Z')
}

/// 16 bytes in base64url.
fn is_request_id(word: &str) -> bool {
    word.len() == 22 && !word.contains([':', '.'])
}

#[test]
fn what_differs_from_run_to_run_is_replaced_and_nothing_else() {
    let id = "01a1fc06-5468-7a9e-9e94-37055981e472";
    let other = "01a1fc06-5468-7aa2-a470-6bf6e0365f2d";
    assert_eq!(normal(&format!("{id} \"{other}\",\n{id}\n")), "<id 0> \"<id 1>\",\n<id 0>\n",);
    assert_eq!(normal("2027-01-15T08:00:00.25Z  127.0.0.1"), "<time> 127.0.0.1");
    assert_eq!(normal("2027-01-15T08:00:00.000Z"), "<time>");
    assert_eq!(normal("\"dJN_j2MdzTNB498zyPYMSw\":401"), "\"<request id>\":401");
    assert_eq!(normal("\"curl/7.88.1\" 7.88.1"), "\"curl/\" 7.88.1");
    assert_eq!(normal("session.reuse_detected"), "session.reuse_detected");
}

//! A list of leaked passwords in a file, too large for memory, searched on the disk.
//!
//! The file has one password a line, or one SHA-1 in hexadecimal with anything behind it after a
//! colon, as Have I Been Pwned offers them; either way it is sorted by its bytes. A search reads
//! some forty lines of it.

use std::cmp::Ordering;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::SystemTime;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use keyward_core::password::Password;
use keyward_core::time::Timestamp;
use zeroize::Zeroizing;

/// The list, open.
pub struct BreachedList {
    file: File,
    bytes: u64,
    form: Form,
}

/// What its lines are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Passwords,
    Sha1,
}

impl BreachedList {
    /// Opens the list and looks whether it is sorted: all of it up to 64 MiB, else a thousand
    /// places.
    ///
    /// # Errors
    ///
    /// Where it cannot be read, holds no line, or is not sorted.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        let mut list = Self { file, bytes, form: Form::Passwords };
        let (first, _) = list.line_from(0)?.ok_or_else(|| invalid("it is empty"))?;
        if sha1_of(&first.text).is_some() {
            list.form = Form::Sha1;
        }
        if list.is_sorted()? { Ok(list) } else { Err(invalid(UNSORTED)) }
    }

    /// When the list was last changed.
    ///
    /// # Errors
    ///
    /// Where the system does not tell.
    pub fn modified(&self) -> io::Result<Timestamp> {
        let modified = self.file.metadata()?.modified()?;
        let since_epoch = modified.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Ok(Timestamp::from_secs(0).plus(since_epoch))
    }

    /// Whether the password is in the list.
    ///
    /// # Errors
    ///
    /// Where the list cannot be read, or has lines that it must not have.
    pub fn holds(&self, password: &Password) -> io::Result<bool> {
        let sought = match self.form {
            Form::Passwords => Zeroizing::new(password.expose().as_bytes().to_vec()),
            Form::Sha1 => {
                let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, password.expose().as_bytes());
                let hex = hash.as_ref().iter().map(|byte| format!("{byte:02X}"));
                Zeroizing::new(hex.collect::<String>().into_bytes())
            }
        };
        // Lines that begin before `low` are smaller than what is sought, from `high` on larger.
        let (mut low, mut high) = (0, self.bytes);
        while low < high {
            let middle = low + (high - low) / 2;
            let Some((line, next)) = self.line_from(middle)? else {
                high = middle;
                continue;
            };
            if line.begin >= high {
                high = middle;
                continue;
            }
            match self.key(&line.text)?.as_slice().cmp(&sought) {
                Ordering::Less => low = next,
                Ordering::Equal => return Ok(true),
                Ordering::Greater => high = middle,
            }
        }
        Ok(false)
    }

    /// The first line that begins at `offset` or later, and where the next one does.
    fn line_from(&self, offset: u64) -> io::Result<Option<(Line, u64)>> {
        // From the byte before: where that ends a line, one begins at the offset itself.
        let from = offset.saturating_sub(1);
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut filled = 0;
        while filled < chunk.len() {
            match self.file.read_at(&mut chunk[filled..], from + filled as u64)? {
                0 => break,
                read => filled += read,
            }
        }
        let read = &chunk[..filled];
        let end_of_line = |from: usize| read[from..].iter().position(|byte| *byte == b'\n');
        let skipped = match (offset, end_of_line(0)) {
            (0, _) => 0,
            (_, Some(end)) => end + 1,
            (_, None) if filled < CHUNK_BYTES => return Ok(None),
            (_, None) => return Err(invalid(TOO_LONG)),
        };
        if skipped >= filled {
            return Ok(None);
        }
        let end = match end_of_line(skipped) {
            Some(length) => skipped + length,
            None if filled < CHUNK_BYTES => filled,
            None => return Err(invalid(TOO_LONG)),
        };
        let text = bare(&read[skipped..end]).to_vec();
        Ok(Some((Line { begin: from + skipped as u64, text }, from + end as u64 + 1)))
    }

    /// What lines are sorted by.
    fn key(&self, line: &[u8]) -> io::Result<Vec<u8>> {
        match self.form {
            Form::Passwords => Ok(line.to_vec()),
            Form::Sha1 => sha1_of(line).ok_or_else(|| invalid("a line of it is no SHA-1")),
        }
    }

    fn is_sorted(&self) -> io::Result<bool> {
        let mut last = Vec::new();
        let mut follows = |line: &[u8]| {
            let key = self.key(line)?;
            let is_next = last <= key;
            last = key;
            Ok::<bool, io::Error>(is_next)
        };
        if self.bytes <= SCANNED_BYTES_MAX {
            for line in BufReader::new(&self.file).split(b'\n') {
                if !follows(bare(&line?))? {
                    return Ok(false);
                }
            }
            return Ok(true);
        }
        for probe in 0..PROBES {
            let Some((line, _)) = self.line_from(self.bytes / PROBES * probe)? else { break };
            if !follows(&line.text)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl fmt::Debug for BreachedList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BreachedList").field("form", &self.form).finish_non_exhaustive()
    }
}

struct Line {
    begin: u64,
    text: Vec<u8>,
}

/// Without the carriage return of a line that was written elsewhere.
fn bare(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The SHA-1 in capitals that a line begins with.
fn sha1_of(line: &[u8]) -> Option<Vec<u8>> {
    let (hash, rest) = line.split_at_checked(SHA1_CHARS)?;
    let is_whole = rest.is_empty() || rest.starts_with(b":");
    let is_hash = is_whole && hash.iter().all(u8::is_ascii_hexdigit);
    is_hash.then(|| hash.to_ascii_uppercase())
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

const UNSORTED: &str = "it is not sorted by its bytes; `LC_ALL=C sort -u` does that";
const TOO_LONG: &str = "a line of it is longer than any password";

const SHA1_CHARS: usize = 40;
/// More than any password and its line break; a search reads two lines at once.
const CHUNK_BYTES: usize = 8 * 1024;
const SCANNED_BYTES_MAX: u64 = 64 * 1024 * 1024;
const PROBES: u64 = 1000;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;

    fn list(text: &[u8]) -> io::Result<BreachedList> {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(text).expect("written");
        BreachedList::open(file.path())
    }

    fn holds(list: &BreachedList, typed: &str) -> bool {
        list.holds(&Password::parse(typed).expect("short enough")).expect("readable")
    }

    #[test]
    fn finds_hashes_as_they_are_offered() {
        // SHA-1 of "password", "12345678" and "zimtkringel", sorted.
        let hashes = [
            "0645C56DF5A35E0DD3C18D2784D6950F27C79A0A:1",
            "5BAA61E4C9B93F3F0682250B6CF8331B7EE68FD8:10434004",
            "7C222FB2927D828AF22F592134E8932480637C0D:6",
        ];
        for text in [hashes.join("\r\n"), hashes.join("\n").to_lowercase() + "\n"] {
            let list = list(text.as_bytes()).expect("a list");
            assert_eq!(list.form, Form::Sha1);
            assert!(holds(&list, "password") && holds(&list, "12345678"));
            assert!(holds(&list, "zimtkringel") && !holds(&list, "zimtkringel im regen"));
        }
    }

    #[test]
    fn refuses_what_cannot_be_searched() {
        for (text, why) in [
            (&b""[..], "empty"),
            (b"b\na\n", "sorted"),
            (b"5BAA61E4C9B93F3F0682250B6CF8331B7EE68FD8:1\nhello\n", "SHA-1"),
        ] {
            let error = list(text).expect_err("unfit");
            assert!(error.to_string().contains(why), "{error}");
        }
        let endless = vec![b'x'; 3 * CHUNK_BYTES];
        assert!(list(&endless).is_err());
    }

    proptest! {
        /// Every line is found wherever it is, and nothing else is.
        #[test]
        fn finds_what_a_set_holds(
            words in prop::collection::btree_set("[a-zé ]{1,40}", 1..60),
            others in prop::collection::vec("[a-zé ]{1,40}", 20),
            ends_line in any::<bool>(),
        ) {
            let words: BTreeSet<String> = words;
            let mut text = words.iter().cloned().collect::<Vec<_>>().join("\n");
            text.push_str(if ends_line { "\n" } else { "" });
            let list = list(text.as_bytes()).expect("a list");
            for word in words.iter().chain(&others) {
                prop_assert_eq!(holds(&list, word), words.contains(word), "{}", word);
            }
        }
    }
}

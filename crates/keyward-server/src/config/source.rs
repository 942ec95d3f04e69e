//! Where values come from: a TOML file, and over it the environment.
//!
//! Nothing here knows a key. Whoever reads the configuration asks for each key by its name, and
//! what nobody asked for is unknown.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use zeroize::Zeroizing;

use super::secret_file::{self, Secret};
use crate::output::printable;

/// Everything that was set, and what was wrong or weak about it so far.
pub(crate) struct Source {
    entries: BTreeMap<String, Entry>,
    asked: BTreeSet<&'static str>,
    secrets_readable_in: Option<PathBuf>,
    base: PathBuf,
    /// What stops the start.
    pub(crate) problems: Vec<Finding>,
    /// What is weak, but may be meant.
    pub(crate) warnings: Vec<Finding>,
}

/// One thing that is wrong or weak, in one sentence that names the key and the fix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The key, such as `server.listen`, or what else it is about.
    pub key: String,
    /// File and line, or the variable.
    pub place: Option<String>,
    /// What is wrong and how to mend it, without the key.
    pub complaint: String,
}

impl Finding {
    /// One that stands on no line: it has come out when the value was used.
    pub(crate) fn of(key: &str, complaint: String) -> Self {
        Self { key: key.to_owned(), place: None, complaint }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, place, complaint } = self;
        if let Some(place) = place {
            write!(f, "{}: ", printable(place))?;
        }
        write!(f, "{} {}.", printable(key), printable(complaint))
    }
}

/// A value as it was written. Has no `Debug`: it may be a secret.
pub(crate) enum Value {
    Text(Zeroizing<String>),
    Integer(i64),
    Boolean(bool),
    List(Vec<String>),
    /// Something that no key takes, by the name of its type.
    Unfit(&'static str),
}

struct Entry {
    value: Value,
    place: String,
    in_file: bool,
}

impl Source {
    /// Reads the file, where there is one, and the environment over it. `base` is what relative
    /// paths are relative to.
    pub(crate) fn read(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        base: &Path,
    ) -> Self {
        let mut source = Self {
            entries: BTreeMap::new(),
            asked: BTreeSet::new(),
            secrets_readable_in: None,
            base: base.to_owned(),
            problems: Vec::new(),
            warnings: Vec::new(),
        };
        if let Some(path) = file {
            source.read_file(path);
        }
        for (name, value) in environment {
            if let Some(name) = name.to_str() {
                source.read_variable(name, &value);
            }
        }
        source
    }

    /// The value of a key through its parser. A parser's error is a complaint that follows the
    /// key's name; it is kept as a problem, and the key counts as not set.
    pub(crate) fn parsed<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<T> {
        self.asked.insert(key);
        let entry = self.entries.get(key)?;
        match parse(&entry.value) {
            Ok(value) => Some(value),
            Err(complaint) => {
                self.problem(key, complaint);
                None
            }
        }
    }

    /// A secret: the key's own text, or the text of the file that `file_key` names. The environment
    /// goes over the file, whichever of the two forms each of them has.
    pub(crate) fn secret(
        &mut self,
        key: &'static str,
        file_key: &'static str,
        secret: Secret,
    ) -> Option<Zeroizing<String>> {
        self.drop_overridden(key, file_key);
        let inline = self.parsed(key, super::value::secret);
        let path = self.parsed(file_key, super::value::text).map(|path| self.base.join(path));
        if inline.is_some() && path.is_some() {
            self.problem(file_key, format!("is set, and so is {key}; keep one of them"));
        }
        if inline.is_some() {
            self.check_secret_in_file(key);
            return inline;
        }
        match secret_file::read(&path?, secret) {
            Ok(text) => Some(text),
            Err(why) => {
                self.problem(file_key, format!("cannot be used: {why}"));
                None
            }
        }
    }

    /// A path, relative ones below the folder that they are relative to.
    pub(crate) fn path(&mut self, key: &'static str) -> Option<PathBuf> {
        self.parsed(key, super::value::text).map(|path| self.base.join(path))
    }

    /// Whether the key was set, by whatever text.
    pub(crate) fn is_set(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Keeps a problem about a key.
    pub(crate) fn problem(&mut self, key: &str, complaint: impl Into<String>) {
        let finding = self.finding(key, complaint.into());
        self.problems.push(finding);
    }

    /// Keeps a warning about a key.
    pub(crate) fn warn(&mut self, key: &str, complaint: impl Into<String>) {
        let finding = self.finding(key, complaint.into());
        self.warnings.push(finding);
    }

    /// Makes a problem of every key that nobody asked for. Comes last.
    pub(crate) fn refuse_unknown(&mut self) {
        let unknown: Vec<String> =
            self.entries.keys().filter(|key| !self.asked.contains(key.as_str())).cloned().collect();
        for key in unknown {
            let hint = self.hint(&key);
            self.problem(&key, format!("is no key that this version knows; {hint}"));
        }
    }

    fn hint(&self, key: &str) -> String {
        let section = key.split('.').next().unwrap_or_default();
        let siblings: Vec<&str> = self
            .asked
            .iter()
            .filter_map(|known| known.strip_prefix(section)?.strip_prefix('.'))
            .collect();
        if !siblings.is_empty() {
            return format!("remove it or use one of {}", siblings.join(", "));
        }
        let sections: BTreeSet<&str> =
            self.asked.iter().filter_map(|known| known.split('.').next()).collect();
        format!("the sections are {}", sections.into_iter().collect::<Vec<_>>().join(", "))
    }

    fn finding(&self, key: &str, complaint: String) -> Finding {
        let place = self.entries.get(key).map(|entry| entry.place.clone());
        Finding { key: key.to_owned(), place, complaint }
    }

    /// Drops the form of a secret that the file has, where the environment has the other one.
    fn drop_overridden(&mut self, key: &str, file_key: &str) {
        let in_file = |key| self.entries.get(key).map(|entry| entry.in_file);
        match (in_file(key), in_file(file_key)) {
            (Some(true), Some(false)) => drop(self.entries.remove(key)),
            (Some(false), Some(true)) => drop(self.entries.remove(file_key)),
            _ => {}
        }
    }

    fn check_secret_in_file(&mut self, key: &'static str) {
        let in_file = self.entries.get(key).is_some_and(|entry| entry.in_file);
        let Some(path) = self.secrets_readable_in.clone().filter(|_| in_file) else { return };
        let path = path.display();
        self.problem(
            key,
            format!("stands in a file that others can read; run `chmod 600 {path}` or move it out"),
        );
    }

    fn read_file(&mut self, path: &Path) {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => Zeroizing::new(text),
            Err(error) => {
                let complaint =
                    format!("cannot be read ({error}); mend that or leave --config out");
                return self.problem(&path.display().to_string(), complaint);
            }
        };
        if secret_file::is_readable_by_others(path) {
            self.secrets_readable_in = Some(path.to_owned());
        }
        match DeTable::parse(&text) {
            Ok(table) => self.read_table(path, &text, "", table.get_ref()),
            Err(error) => {
                let line = line_of(&text, error.span().map_or(0, |span| span.start));
                self.problems.push(Finding {
                    key: "the file".to_owned(),
                    place: Some(format!("{}:{line}", path.display())),
                    complaint: format!("is no TOML; {}", one_line(error.message())),
                });
            }
        }
    }

    fn read_table(&mut self, path: &Path, text: &str, prefix: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let key = format!("{prefix}{}", name.get_ref());
            if let DeValue::Table(inner) = value.get_ref() {
                self.read_table(path, text, &format!("{key}."), inner);
                continue;
            }
            let place = format!("{}:{}", path.display(), line_of(text, name.span().start));
            let value = from_toml(value);
            self.entries.insert(key, Entry { value, place, in_file: true });
        }
    }

    /// `KEYWARD_SECTION__KEY`, and a second `__` where the key is a table of its own.
    fn read_variable(&mut self, name: &str, value: &OsString) {
        let Some((section, key)) =
            name.strip_prefix("KEYWARD_").and_then(|rest| rest.split_once("__"))
        else {
            return;
        };
        let key = format!("{section}.{}", key.replace("__", ".")).to_lowercase();
        let value = match value.to_str() {
            Some(text) => Value::Text(Zeroizing::new(text.to_owned())),
            None => Value::Unfit("text that is no UTF-8"),
        };
        self.entries.insert(key, Entry { value, place: name.to_owned(), in_file: false });
    }
}

fn from_toml(value: &Spanned<DeValue<'_>>) -> Value {
    match value.get_ref() {
        DeValue::String(text) => Value::Text(Zeroizing::new(text.to_string())),
        DeValue::Integer(integer) => {
            let digits = integer.as_str();
            i64::from_str_radix(digits, integer.radix())
                .map_or(Value::Unfit("a number beyond all bounds"), Value::Integer)
        }
        DeValue::Boolean(boolean) => Value::Boolean(*boolean),
        DeValue::Array(items) => {
            let texts = items.iter().map(|item| item.get_ref().as_str().map(str::to_owned));
            texts
                .collect::<Option<_>>()
                .map_or(Value::Unfit("a list of other than texts"), Value::List)
        }
        DeValue::Float(_) => Value::Unfit("a fraction"),
        DeValue::Datetime(_) => Value::Unfit("a date"),
        DeValue::Table(_) => Value::Unfit("a table"),
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

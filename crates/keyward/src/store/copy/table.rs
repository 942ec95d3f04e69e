//! The tables that are copied, and what a row of theirs holds in whichever database it lies.

use std::fmt;

use aws_lc_rs::digest::{Context, SHA256};

/// One table, of the same name and columns in both databases.
#[derive(Debug)]
pub(in crate::store) struct Table {
    pub(in crate::store) name: &'static str,
    pub(in crate::store) columns: &'static [Column],
    /// How many of the first columns are the key, by which rows are ordered.
    pub(in crate::store) key_columns: usize,
    /// Another column that no two rows share.
    pub(in crate::store) unique: Option<usize>,
}

/// One column.
#[derive(Debug)]
pub(in crate::store) struct Column {
    pub(in crate::store) name: &'static str,
    /// Names it with its table, for errors.
    pub(in crate::store) place: &'static str,
    pub(in crate::store) kind: Kind,
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Kind {
    /// The sixteen bytes of a UUID.
    Id,
    /// That of a user without whom the server does not take the row. The file would.
    User,
    Bytes,
    Integer,
    Flag,
    Text,
    /// JSON, kept as it was written.
    Json,
    /// A list of texts: an array in PostgreSQL, in SQLite one of JSON.
    Texts,
}

impl Table {
    /// The columns of the key.
    pub(in crate::store) fn key(&self) -> &'static [Column] {
        &self.columns[..self.key_columns]
    }

    /// Which column names the user without whom the server does not take a row.
    pub(in crate::store) fn user(&self) -> Option<usize> {
        self.columns.iter().position(|column| column.kind == Kind::User)
    }

    /// How many rows are a few megabytes. A checkpoint alone has 32 bytes for each of up to a
    /// thousand events.
    pub(super) fn piece_rows(&self) -> usize {
        if self.name == "audit_checkpoint" { 100 } else { 5000 }
    }

    /// The key of a row.
    pub(in crate::store) fn key_of<'r>(&self, row: &'r Row) -> &'r [Value] {
        &row[..self.key_columns]
    }
}

/// The names of columns, for a statement.
pub(in crate::store) fn names(columns: &[Column]) -> String {
    columns.iter().map(|column| column.name).collect::<Vec<_>>().join(", ")
}

/// The values of a row, in the order of the columns.
pub(in crate::store) type Row = Vec<Value>;

/// A value, the same in whichever database it lies. Keys compare as both databases order them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::store) enum Value {
    Absent,
    Flag(bool),
    Integer(i64),
    Text(String),
    Bytes(Vec<u8>),
    Texts(Vec<String>),
}

/// It may be a secret.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Value")
    }
}

/// Counts rows, and adds them up to what tells whether others are the same in the same order.
pub(super) struct Checksum {
    pub(super) rows: u64,
    context: Context,
}

impl Checksum {
    pub(super) fn new() -> Self {
        Self { rows: 0, context: Context::new(&SHA256) }
    }

    pub(super) fn add(&mut self, row: &Row) {
        self.rows += 1;
        let mut bytes = Vec::with_capacity(512);
        row.iter().for_each(|value| encode(value, &mut bytes));
        self.context.update(&bytes);
    }

    /// How many rows there were, and what they add up to.
    pub(super) fn finish(self) -> (u64, [u8; 32]) {
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(self.context.finish().as_ref());
        (self.rows, sha256)
    }
}

/// No two rows of a table have one encoding: each value says what it is and how long.
fn encode(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Absent => out.push(0),
        Value::Flag(flag) => out.extend([1, u8::from(*flag)]),
        Value::Integer(number) => {
            out.push(2);
            out.extend(number.to_be_bytes());
        }
        Value::Text(text) => {
            out.push(3);
            encode_bytes(text.as_bytes(), out);
        }
        Value::Bytes(bytes) => {
            out.push(4);
            encode_bytes(bytes, out);
        }
        Value::Texts(texts) => {
            out.push(5);
            out.extend((texts.len() as u64).to_be_bytes());
            texts.iter().for_each(|text| encode_bytes(text.as_bytes(), out));
        }
    }
}

fn encode_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend((bytes.len() as u64).to_be_bytes());
    out.extend(bytes);
}

/// Declares a table: its key, what else is unique, its columns.
macro_rules! table {
    ($table:literal, $key_columns:literal, $unique:expr, $($column:literal: $kind:ident),+) => {
        Table {
            name: $table,
            key_columns: $key_columns,
            unique: $unique,
            columns: &[$(Column {
                name: $column,
                place: concat!($table, ".", $column),
                kind: Kind::$kind,
            }),+],
        }
    };
}

/// Every table that is copied, users before what the server holds only beside them.
pub(in crate::store) const TABLES: &[Table] = &[
    table!("user", 1, Some(2),
        "id": Id, "email": Text, "email_key": Text, "name": Text, "roles": Texts,
        "email_verified": Flag, "claims": Json, "password_hash": Text,
        "credential_version": Integer, "created_at": Integer, "disabled_at": Integer,
        "last_login_at": Integer, "last_logout_at": Integer, "mfa_enabled_at": Integer,
        "unlocked_at": Integer),
    table!("session", 1, None,
        "id": Id, "user_id": Id, "generation": Integer, "refresh_token_hash": Bytes,
        "previous_token_hash": Bytes, "sealed_successor": Bytes, "retry_proofs": Bytes,
        "rotated_at": Integer, "created_at": Integer, "last_used_at": Integer,
        "idle_expires_at": Integer, "expires_at": Integer, "revoked_at": Integer,
        "revoked_reason": Text, "ip": Text, "user_agent": Text, "auth_time": Integer,
        "amr": Texts),
    table!("audit_event", 1, None,
        "id": Integer, "at": Integer, "name": Text, "user_id": Id, "session_id": Id, "ip": Text,
        "user_agent": Text, "request_id": Text, "detail": Json),
    table!("key", 2, None,
        "purpose": Text, "id": Text, "algorithm": Text, "sealed": Bytes, "created_at": Integer,
        "activates_at": Integer, "compromised_at": Integer),
    table!("sealing_key", 2, None,
        "purpose": Text, "id": Text, "algorithm": Text, "sealed": Bytes, "created_at": Integer,
        "activates_at": Integer, "compromised_at": Integer),
    table!("totp", 1, None,
        "user_id": Id, "sealed": Bytes, "begun_at": Integer, "confirmed_at": Integer,
        "last_step": Integer, "tries_whole_at": Integer),
    table!("recovery_code", 2, None, "user_id": Id, "hash": Bytes),
    table!("mfa_challenge", 1, None,
        "hash": Bytes, "user_id": Id, "credential_version": Integer, "tries_left": Integer,
        "expires_at": Integer),
    table!("service_key", 1, Some(2),
        "id": Id, "name": Text, "hash": Bytes, "scopes": Texts, "created_at": Integer,
        "expires_at": Integer, "revoked_at": Integer),
    table!("event_count", 2, None, "hour": Integer, "name": Text, "count": Integer),
    table!("one_time_token", 2, Some(2),
        "user_id": User, "purpose": Text, "hash": Bytes, "email_key": Text,
        "credential_version": Integer, "expires_at": Integer),
    table!("mail", 1, None,
        "id": Id, "user_id": User, "sealed": Bytes, "attempts": Integer, "due_at": Integer,
        "created_at": Integer, "expires_at": Integer),
    table!("audit_checkpoint", 1, None,
        "number": Integer, "at": Integer, "month": Integer, "reached": Integer, "events": Text,
        "tags": Bytes, "previous": Bytes, "head": Bytes, "key": Bytes, "signature": Bytes),
    table!("audit_salt", 1, None, "user_id": User, "salt": Bytes),
    // Verifiers that read them from the file are told again.
    table!("revocation", 1, None,
        "id": Integer, "at": Integer, "session_id": Id, "user_id": Id),
];

/// Every table and column that is not copied, of either database.
#[cfg(test)]
pub(super) const LEFT: &[&str] = &[
    // Each database tells its own history.
    "migration",
    // A file counts positions, a server its transactions.
    "revocation_position",
    "revocation.written_by",
    "audit_event.written_by",
    "audit_checkpoint.position",
    "audit_checkpoint.written_by",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_rows_have_different_checksums() {
        let text = |text: &str| Value::Text(text.to_owned());
        let rows: &[Row] = &[
            vec![],
            vec![Value::Absent],
            vec![Value::Flag(false)],
            vec![Value::Integer(0)],
            vec![text("")],
            vec![text("ab"), text("c")],
            vec![text("a"), text("bc")],
            vec![Value::Bytes(b"a".to_vec()), text("bc")],
            vec![Value::Texts(vec![])],
            vec![Value::Texts(vec!["ab".to_owned(), "c".to_owned()])],
            vec![Value::Texts(vec!["a".to_owned(), "bc".to_owned()])],
        ];
        let checksums: std::collections::BTreeSet<_> = rows
            .iter()
            .map(|row| {
                let mut checksum = Checksum::new();
                checksum.add(row);
                checksum.finish()
            })
            .collect();
        assert_eq!(checksums.len(), rows.len());
    }
}

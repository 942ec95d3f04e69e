//! The lines of an exported audit log: events, and the checkpoints that cover them.

use keyward_core::audit::RecordedEvent;
use keyward_core::audit::chain::{ChainHash, ChainPublicKey, Checkpoint, EventSalt};
use keyward_core::session::Device;
use keyward_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// What a line says.
pub(super) enum Line {
    /// An event, the salt of what is personal in it, and whether it is sealed.
    Event(RecordedEvent, Option<EventSalt>, bool),
    Checkpoint(Checkpoint),
}

/// Reads a line; `None` where it is none of these.
pub(super) fn parse(text: &str) -> Option<Line> {
    if let Ok(line) = serde_json::from_str::<CheckpointLine>(text) {
        return line.read().map(Line::Checkpoint);
    }
    serde_json::from_str::<EventLine>(text).ok()?.read()
}

/// The line of an event.
pub(super) fn of_event(event: &RecordedEvent, salt: Option<EventSalt>, is_sealed: bool) -> String {
    let line = EventLine {
        id: event.id,
        at: event.at.to_rfc3339(),
        name: event.name.clone(),
        user_id: event.user_id.map(|id| id.to_string()),
        session_id: event.session_id.map(|id| id.to_string()),
        ip: event.device.ip.clone(),
        user_agent: event.device.user_agent.clone(),
        request_id: event.request_id.clone(),
        detail: RawValue::from_string(event.detail.clone()).ok(),
        salt: salt.map(|salt| salt.text()),
        sealed: is_sealed,
    };
    serde_json::to_string(&line).unwrap_or_default()
}

/// The line of a checkpoint.
pub(super) fn of_checkpoint(checkpoint: &Checkpoint) -> String {
    let line = CheckpointLine {
        checkpoint: checkpoint.number,
        at: checkpoint.at.to_rfc3339(),
        month: checkpoint.month.to_rfc3339(),
        reached: checkpoint.reached.to_rfc3339(),
        events: checkpoint.events.to_string(),
        tags: checkpoint.tags_text(),
        previous: checkpoint.previous.text(),
        head: checkpoint.head.text(),
        key: checkpoint.key.text(),
        signature: checkpoint.signature_text(),
    };
    serde_json::to_string(&line).unwrap_or_default()
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct EventLine {
    id: i64,
    at: String,
    #[serde(rename = "type")]
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<String>,
    ip: Option<String>,
    user_agent: Option<String>,
    request_id: Option<String>,
    /// As it was written: it is sealed to the byte.
    detail: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    salt: Option<String>,
    sealed: bool,
}

impl EventLine {
    fn read(self) -> Option<Line> {
        let user_id = self.user_id.map(|id| id.parse()).transpose().ok()?;
        let session_id = self.session_id.map(|id| id.parse()).transpose().ok()?;
        let event = RecordedEvent {
            id: self.id,
            at: Timestamp::from_rfc3339(&self.at)?,
            name: self.name,
            user_id,
            session_id,
            device: Device { ip: self.ip, user_agent: self.user_agent },
            request_id: self.request_id,
            detail: self.detail?.get().to_owned(),
        };
        let salt = self.salt.map(|salt| EventSalt::parse(&salt).ok_or(())).transpose().ok()?;
        Some(Line::Event(event, salt, self.sealed))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CheckpointLine {
    checkpoint: u64,
    at: String,
    month: String,
    reached: String,
    events: String,
    tags: String,
    previous: String,
    head: String,
    key: String,
    signature: String,
}

impl CheckpointLine {
    fn read(self) -> Option<Checkpoint> {
        Some(Checkpoint {
            number: self.checkpoint,
            at: Timestamp::from_rfc3339(&self.at)?,
            month: Timestamp::from_rfc3339(&self.month)?,
            reached: Timestamp::from_rfc3339(&self.reached)?,
            events: self.events.parse().ok()?,
            tags: Checkpoint::bytes_of(&self.tags)?,
            previous: ChainHash::parse(&self.previous)?,
            head: ChainHash::parse(&self.head)?,
            key: ChainPublicKey::parse(&self.key)?,
            signature: Checkpoint::bytes_of(&self.signature)?,
        })
    }
}

//! `keyward session`.

use std::time::Duration;

use clap::{Args, Subcommand};
use keyward::store::{Revoke, RevokeScope, SessionFilter, Store, WhichSessions};
use keyward_core::id::SessionId;
use keyward_core::session::{RevocationReason, Session, SessionState};
use keyward_core::time::Timestamp;
use serde_json::{Value, json};

use super::audit;
use crate::config::Overrides;
use crate::failure::Failure;
use crate::{assembly, output};

/// What can be done with sessions.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// List live sessions, most recently used first
    #[command(after_help = "Examples:
  keyward session list --user ada@example.org
  keyward session list --user ada@example.org --ended    those of the last 30 days, and why")]
    List(ListArguments),
    /// Show one session, and all that the audit log says of it
    #[command(after_help = "Example:
  keyward session show 0198c0de-7a8b-7c3d-8e4f-5a6b7c8d9e0f")]
    Show(ShowArguments),
    /// End sessions
    #[command(after_help = "Examples:
  keyward session revoke 0198c0de-7a8b-7c3d-8e4f-5a6b7c8d9e0f
  keyward session revoke --user ada@example.org
  keyward session revoke --all      after a stolen master key or a restored backup")]
    Revoke(RevokeArguments),
}

/// What `session list` takes.
#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// Only this user's, by id or address
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Those that were ended in the last 30 days instead, most recently ended first
    #[arg(long)]
    ended: bool,
    /// At most so many
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// What `session show` takes.
#[derive(Debug, Args)]
pub(crate) struct ShowArguments {
    /// Its id
    #[arg(value_name = "SESSION")]
    session: String,
    /// As a JSON object
    #[arg(long)]
    json: bool,
}

/// What `session revoke` takes: exactly one of the three.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct RevokeArguments {
    /// This session
    #[arg(value_name = "SESSION")]
    session: Option<String>,
    /// Every session of this user, by id or address
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Every session there is
    #[arg(long)]
    all: bool,
}

/// Lists or ends sessions.
pub(super) async fn run(action: Action, overrides: &Overrides) -> Result<(), Failure> {
    let store = super::existing_store(overrides).await?;
    match action {
        Action::List(arguments) => list(store.as_ref(), &arguments).await,
        Action::Show(arguments) => show(store.as_ref(), &arguments).await,
        Action::Revoke(arguments) => revoke(store.as_ref(), &arguments).await,
    }
}

async fn list(store: &dyn Store, arguments: &ListArguments) -> Result<(), Failure> {
    let user_id = match &arguments.user {
        Some(user) => Some(super::find_user(store, user).await?.id),
        None => None,
    };
    let now = assembly::now();
    let which = match arguments.ended {
        true => WhichSessions::EndedSince(now.minus(ENDED_SHOWN_FOR)),
        false => WhichSessions::Live,
    };
    let filter = SessionFilter { user_id, which, now, limit: arguments.limit };
    let sessions = store.list_sessions(filter).await?;
    if arguments.json {
        return Ok(output::json_lines(sessions.iter().map(object))?);
    }
    table(&sessions)
}

/// Live sessions, or ended ones with their end.
pub(super) fn table(sessions: &[Session]) -> Result<(), Failure> {
    let is_ended = sessions.iter().any(|session| session.revoked.is_some());
    let mut headings = vec!["SESSION", "USER", "CREATED", "LAST USED", "ADDRESS", "BROWSER"];
    if is_ended {
        headings.splice(4..4, ["ENDED", "WHY"]);
    }
    let rows: Vec<Vec<String>> = sessions.iter().map(|session| row(session, is_ended)).collect();
    Ok(output::table(headings, &rows)?)
}

async fn show(store: &dyn Store, arguments: &ShowArguments) -> Result<(), Failure> {
    let id = session_id(&arguments.session)?;
    let session = store.find_session(id).await?.map(|found| found.session);
    let events = audit::history_of(store, id).await?;
    if session.is_none() && events.is_empty() {
        return Err(no_session());
    }
    if arguments.json {
        let mut object = session.as_ref().map_or_else(|| json!({ "id": id }), object);
        object["events"] = events.iter().map(audit::object).collect();
        return Ok(output::json_lines([object])?);
    }
    if let Some(session) = &session {
        output::table(["FIELD", "VALUE"], &fields(session, assembly::now()))?;
        output::line("")?;
    }
    audit::timeline(&events)
}

fn fields(session: &Session, now: Timestamp) -> Vec<[String; 2]> {
    let state = match session.state(now) {
        SessionState::Live => "live".to_owned(),
        SessionState::Expired => "timed out".to_owned(),
        SessionState::Revoked(end) => {
            format!("ended at {}: {}", end.at.to_rfc3339(), end.reason.as_str())
        }
    };
    [
        ("id", session.id.to_string()),
        ("user", session.user_id.to_string()),
        ("state", state),
        ("created", session.created_at.to_rfc3339()),
        ("last used", session.last_used_at.to_rfc3339()),
        ("refreshes", session.generation.to_string()),
        ("expires", session.idle_expires_at.min(session.expires_at).to_rfc3339()),
        ("address", output::cell(session.device.ip.as_ref())),
        ("browser", output::cell(session.device.user_agent.as_ref())),
        ("signed in by", methods(session).join(", ")),
    ]
    .map(|(field, value)| [field.to_owned(), value])
    .to_vec()
}

async fn revoke(store: &dyn Store, arguments: &RevokeArguments) -> Result<(), Failure> {
    let scope = match (&arguments.session, &arguments.user) {
        (Some(session), _) => RevokeScope::Session(session_id(session)?),
        (None, Some(user)) => RevokeScope::User(super::find_user(store, user).await?.id),
        (None, None) => RevokeScope::All,
    };
    let revoke = Revoke { scope, reason: RevocationReason::Admin, noticed: None };
    let ended = store.revoke(revoke, &super::audit_context()).await?;
    if ended.is_empty() && matches!(scope, RevokeScope::Session(_)) {
        return Err(Failure::new(
            "There is no such live session; `keyward session list` shows the live ones.",
        ));
    }
    let plural = if ended.len() == 1 { "session" } else { "sessions" };
    Ok(output::line(&format!("Ended {} {plural}.", ended.len()))?)
}

/// Reads a session id as it was typed.
pub(super) fn session_id(text: &str) -> Result<SessionId, Failure> {
    text.parse().map_err(|_| {
        Failure::new(format!("{text} is no session id; `keyward session list` shows them."))
    })
}

fn no_session() -> Failure {
    Failure::new("There is no such session, nor an event of one; `keyward session list` shows all.")
}

fn row(session: &Session, with_end: bool) -> Vec<String> {
    let mut row = vec![
        session.id.to_string(),
        session.user_id.to_string(),
        session.created_at.to_rfc3339(),
        session.last_used_at.to_rfc3339(),
    ];
    if with_end {
        row.push(output::cell(session.revoked.map(|end| end.at.to_rfc3339())));
        row.push(output::cell(session.revoked.map(|end| end.reason.as_str())));
    }
    row.push(output::cell(session.device.ip.as_ref()));
    row.push(output::cell(session.device.user_agent.as_ref()));
    row
}

pub(super) fn object(session: &Session) -> Value {
    let mut object = json!({
        "id": session.id.to_string(),
        "userId": session.user_id.to_string(),
        "createdAt": session.created_at.to_rfc3339(),
        "lastUsedAt": session.last_used_at.to_rfc3339(),
        "expiresAt": session.idle_expires_at.min(session.expires_at).to_rfc3339(),
        "ip": session.device.ip,
        "userAgent": session.device.user_agent,
        "amr": methods(session),
    });
    if let Some(end) = session.revoked {
        object["endedAt"] = json!(end.at.to_rfc3339());
        object["reason"] = json!(end.reason.as_str());
    }
    object
}

fn methods(session: &Session) -> Vec<&'static str> {
    session.amr.iter().map(|method| method.as_str()).collect()
}

/// For how long ended sessions are listed.
pub(super) const ENDED_SHOWN_FOR: Duration = Duration::from_secs(30 * 24 * 60 * 60);

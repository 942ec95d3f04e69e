//! `keyward session`.

use clap::{Args, Subcommand};
use keyward::store::{Revoke, RevokeScope, SessionFilter, Store, WhichSessions};
use keyward_core::id::SessionId;
use keyward_core::session::{RevocationReason, Session};
use serde_json::{Value, json};

use crate::config::Overrides;
use crate::failure::Failure;
use crate::{assembly, output};

/// What can be done with sessions.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// List live sessions, most recently used first
    #[command(after_help = "Example:\n  keyward session list --user ada@example.org")]
    List(ListArguments),
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
    /// At most so many
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    /// One JSON object a line
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
        Action::Revoke(arguments) => revoke(store.as_ref(), &arguments).await,
    }
}

async fn list(store: &dyn Store, arguments: &ListArguments) -> Result<(), Failure> {
    let user_id = match &arguments.user {
        Some(user) => Some(super::find_user(store, user).await?.id),
        None => None,
    };
    let filter = SessionFilter {
        user_id,
        which: WhichSessions::Live,
        now: assembly::now(),
        limit: arguments.limit,
    };
    let sessions = store.list_sessions(filter).await?;
    if arguments.json {
        return Ok(output::json_lines(sessions.iter().map(object))?);
    }
    let rows: Vec<[String; 6]> = sessions.iter().map(row).collect();
    Ok(output::table(["SESSION", "USER", "CREATED", "LAST USED", "ADDRESS", "BROWSER"], &rows)?)
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

fn row(session: &Session) -> [String; 6] {
    [
        session.id.to_string(),
        session.user_id.to_string(),
        session.created_at.to_rfc3339(),
        session.last_used_at.to_rfc3339(),
        output::cell(session.device.ip.as_ref()),
        output::cell(session.device.user_agent.as_ref()),
    ]
}

fn object(session: &Session) -> Value {
    let amr: Vec<&str> = session.amr.iter().map(|method| method.as_str()).collect();
    json!({
        "id": session.id.to_string(),
        "userId": session.user_id.to_string(),
        "createdAt": session.created_at.to_rfc3339(),
        "lastUsedAt": session.last_used_at.to_rfc3339(),
        "expiresAt": session.idle_expires_at.min(session.expires_at).to_rfc3339(),
        "ip": session.device.ip,
        "userAgent": session.device.user_agent,
        "amr": amr,
    })
}

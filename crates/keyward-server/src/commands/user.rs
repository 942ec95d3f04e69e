//! `keyward user`.

use std::io::Read as _;

use clap::{Args, Subcommand};
use keyward::breached::BreachedList;
use keyward::mail::{Mail, Occasion};
use keyward::policy::Policy;
use keyward::store::{
    AdministrationGuard, ChangeUserOutcome, DeleteGuard, DeleteUserOutcome, DisableTotpOutcome,
    GivenPassword, InsertUserOutcome, NewUser, PasswordHash, SessionFilter, Store, User,
    UserChange, UserFilter, WhichSessions,
};
use keyward_core::audit::RegisteredBy;
use keyward_core::email::Email;
use keyward_core::id::UserId;
use keyward_core::password::{Password, PasswordRefusal};
use keyward_core::text::{ROLE_BYTES_MAX, ROLES_MAX, is_role};
use keyward_core::time::Timestamp;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{audit, import, session};
use crate::config::Overrides;
use crate::failure::Failure;
use crate::{assembly, output};

/// What can be done with users. A user is named by id or address.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Make an account
    #[command(after_help = "Example:
  keyward user create --email ada@example.org --email-verified --role admin \
    --password-stdin < password")]
    Create(CreateArguments),
    /// List accounts in the order in which they were made
    #[command(after_help = "Example:\n  keyward user list --json")]
    List(ListArguments),
    /// Show one account, its sessions, and what happened to it lately
    #[command(after_help = "Example:\n  keyward user show ada@example.org")]
    Show {
        /// Its id or address
        user: String,
        /// As a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Set a user's roles, all at once; none takes them all away
    #[command(after_help = "Example:\n  keyward user set-roles ada@example.org admin editor")]
    SetRoles {
        /// Whose
        user: String,
        /// Which
        #[arg(value_name = "ROLE", value_parser = role)]
        roles: Vec<String>,
    },
    /// Keep a user from signing in, and end their sessions
    #[command(after_help = "Example:\n  keyward user disable ada@example.org")]
    Disable {
        /// Whom
        user: String,
    },
    /// Let a user sign in again
    #[command(after_help = "Example:\n  keyward user enable ada@example.org")]
    Enable {
        /// Whom
        user: String,
    },
    /// Forget what was counted against an account, so that its user can try again at once
    #[command(after_help = "Every running node follows within five seconds.
Limits of network addresses stay: they are nobody's.

Example:
  keyward user unlock ada@example.org")]
    Unlock {
        /// Whose
        user: String,
    },
    /// Make accounts of another system's users, with the hashes of their passwords
    Import(import::Arguments),
    /// Remove a user's second factor, so that the password alone signs in
    #[command(after_help = "Be sure who asks for it: whoever has the password gets in afterwards.
Where the service sends mail, the user is told of it.

Example:
  keyward user reset-mfa ada@example.org")]
    ResetMfa {
        /// Whose
        user: String,
    },
    /// Set a new password for a user, and end their sessions
    #[command(after_help = "Be sure who asks for it: whoever has the password gets in afterwards.
A second factor stays. Where the service sends mail, the user is told of it.

Example:
  keyward user set-password ada@example.org --password-stdin < password")]
    SetPassword {
        /// Whose
        user: String,
        /// Read the password from the first line of the input, where no process list shows it
        #[arg(long, required = true)]
        password_stdin: bool,
    },
    /// Delete an account, and what is personal in its audit events
    #[command(after_help = "Example:\n  keyward user delete ada@example.org")]
    Delete {
        /// Whose
        user: String,
    },
}

/// What `user create` takes.
#[derive(Debug, Args)]
pub(crate) struct CreateArguments {
    /// The address to sign in with
    #[arg(long)]
    email: String,
    /// What the user wants to be called
    #[arg(long, value_parser = super::name)]
    name: Option<String>,
    /// A role; can be given several times
    #[arg(long = "role", value_name = "ROLE", value_parser = role)]
    roles: Vec<String>,
    /// You know that the address is the user's: no mail has to show it
    #[arg(long)]
    email_verified: bool,
    /// Read the password from the first line of the input, where no process list shows it
    #[arg(long, required = true)]
    password_stdin: bool,
}

/// What `user list` takes.
#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// At most so many
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// Does what is asked for.
pub(super) async fn run(action: Action, overrides: &Overrides) -> Result<(), Failure> {
    let store = || super::existing_store(overrides);
    match action {
        Action::Create(arguments) => create(arguments, overrides).await,
        Action::List(arguments) => list(&*store().await?, &arguments).await,
        Action::Show { user, json } => show(&*store().await?, &user, json).await,
        Action::SetRoles { user, roles } => set_roles(&*store().await?, &user, roles).await,
        Action::Disable { user } => disable(&*store().await?, &user).await,
        Action::Enable { user } => enable(&*store().await?, &user).await,
        Action::Unlock { user } => unlock(&*store().await?, &user).await,
        Action::Import(arguments) => import::run(&arguments, overrides).await,
        Action::ResetMfa { user } => reset_mfa(&user, overrides).await,
        Action::SetPassword { user, .. } => set_password(&user, overrides).await,
        Action::Delete { user } => delete(&*store().await?, &user).await,
    }
}

async fn create(arguments: CreateArguments, overrides: &Overrides) -> Result<(), Failure> {
    let configuration = super::configuration(overrides)?;
    // Before a password is asked for, and before the work of a hash.
    let store = super::open_existing(&configuration.store).await?;
    let email = Email::parse(&arguments.email).ok_or_else(|| {
        Failure::new(format!("{} is no e-mail address; mend it.", arguments.email))
    })?;
    let roles = sorted(arguments.roles)?;
    let name = arguments.name.as_deref();
    let password_hash = read_hash(&configuration.policy, email.shown(), name).await?;
    let context = super::audit_context();
    let user = NewUser {
        id: UserId::new(context.at, assembly::random()),
        email,
        name: arguments.name,
        roles,
        password_hash,
        email_verified: arguments.email_verified,
        by: RegisteredBy::Operator,
        verification: None,
    };
    match store.insert_user(user, None, &context).await? {
        InsertUserOutcome::Inserted(user) => Ok(output::line(&user.id.to_string())?),
        InsertUserOutcome::EmailTaken => Err(Failure::new(format!(
            "{} has an account already; `keyward user show` shows it.",
            arguments.email
        ))),
    }
}

async fn list(store: &dyn Store, arguments: &ListArguments) -> Result<(), Failure> {
    let mut users: Vec<User> = Vec::new();
    let most = arguments.limit.unwrap_or(u32::MAX);
    loop {
        let missing = most.saturating_sub(u32::try_from(users.len()).unwrap_or(u32::MAX));
        let after = users.last().map(|user| user.id);
        let page = store.list_users(UserFilter::every(after, missing.min(PAGE))).await?;
        if page.is_empty() || missing == 0 {
            break;
        }
        users.extend(page);
    }
    if arguments.json {
        return Ok(output::json_lines(users.iter().map(object))?);
    }
    let rows: Vec<[String; 6]> = users.iter().map(row).collect();
    Ok(output::table(["USER", "EMAIL", "NAME", "ROLES", "CREATED", "DISABLED"], &rows)?)
}

async fn show(store: &dyn Store, named: &str, json: bool) -> Result<(), Failure> {
    let user = super::find_user(store, named).await?;
    let now = assembly::now();
    let list = |which| {
        let filter = SessionFilter { user_id: Some(user.id), which, now, limit: SESSIONS_MAX };
        store.list_sessions(filter)
    };
    let live = list(WhichSessions::Live).await?;
    let ended = list(WhichSessions::EndedSince(now.minus(session::ENDED_SHOWN_FOR))).await?;
    let events = audit::recent_of(store, user.id).await?;
    if json {
        let mut object = object(&user);
        object["sessions"] = live.iter().chain(&ended).map(session::object).collect();
        object["events"] = events.iter().map(audit::object).collect();
        return Ok(output::json_lines([object])?);
    }
    show_account(&user)?;
    for (heading, sessions) in [("Live sessions", live), ("Ended in the last 30 days", ended)] {
        if !sessions.is_empty() {
            output::line(&format!("\n{heading}:"))?;
            session::table(&sessions)?;
        }
    }
    output::line("\nWhat happened last:")?;
    audit::timeline(&events)
}

fn show_account(user: &User) -> Result<(), Failure> {
    let [id, email, name, roles, created_at, disabled_at] = row(user);
    let rows = [
        ["id".to_owned(), id],
        ["email".to_owned(), email],
        ["name".to_owned(), name],
        ["roles".to_owned(), roles],
        ["email verified".to_owned(), user.email_verified.to_string()],
        ["created".to_owned(), created_at],
        ["disabled".to_owned(), disabled_at],
        ["second factor since".to_owned(), time_cell(user.mfa_enabled_at)],
        ["last sign-in".to_owned(), time_cell(user.last_login_at)],
        ["last sign-out everywhere".to_owned(), time_cell(user.last_logout_at)],
        ["claims".to_owned(), Value::Object(user.claims.clone()).to_string()],
    ];
    Ok(output::table(["FIELD", "VALUE"], &rows)?)
}

async fn set_roles(store: &dyn Store, named: &str, roles: Vec<String>) -> Result<(), Failure> {
    let roles = sorted(roles)?;
    let user = change(store, named, UserChange::Roles(roles)).await?;
    Ok(output::line(&format!("{} has the roles: {}.", user.id, roles_cell(&user)))?)
}

async fn disable(store: &dyn Store, named: &str) -> Result<(), Failure> {
    let user = change(store, named, UserChange::Disable).await?;
    Ok(output::line(&format!("{} is disabled.", user.id))?)
}

async fn enable(store: &dyn Store, named: &str) -> Result<(), Failure> {
    let user = change(store, named, UserChange::Enable).await?;
    Ok(output::line(&format!("{} is enabled.", user.id))?)
}

async fn change(store: &dyn Store, named: &str, change: UserChange) -> Result<User, Failure> {
    let id = super::find_user(store, named).await?.id;
    change_found(store, id, named, change).await
}

/// Changes the account that was found by a name, which may be another's by now. The operator is
/// held back by no guard: who has the machine can make the next administrator.
async fn change_found(
    store: &dyn Store,
    id: UserId,
    named: &str,
    change: UserChange,
) -> Result<User, Failure> {
    let guard = AdministrationGuard::default();
    match store.change_user(id, change, guard, &super::audit_context()).await? {
        ChangeUserOutcome::Changed(user) => Ok(user),
        // Of these, only the last can be without a guard and a new address.
        ChangeUserOutcome::EmailTaken
        | ChangeUserOutcome::LastOfRole
        | ChangeUserOutcome::Spared
        | ChangeUserOutcome::Unmatched => Err(super::no_user(named)),
    }
}

async fn unlock(store: &dyn Store, named: &str) -> Result<(), Failure> {
    let id = super::find_user(store, named).await?.id;
    if !store.unlock(id, &super::audit_context()).await? {
        return Err(super::no_user(named));
    }
    Ok(output::line(&format!("{id} can try again within five seconds."))?)
}

async fn reset_mfa(named: &str, overrides: &Overrides) -> Result<(), Failure> {
    let configuration = super::configuration(overrides)?;
    let store = super::open_existing(&configuration.store).await?;
    let user = super::find_user(&*store, named).await?;
    let (id, context) = (user.id, super::audit_context());
    let told = Mail::SecondFactorDisabled(Occasion::new(context.at, None));
    let notice = assembly::notice(&configuration, &*store, &user, told, context.at).await?;
    let is_told = notice.is_some();
    match store.disable_totp(id, None, notice, &context).await? {
        DisableTotpOutcome::Disabled => {
            let told = if is_told { ", and is told so by mail" } else { "" };
            Ok(output::line(&format!("{id} signs in with the password alone{told}."))?)
        }
        DisableTotpOutcome::NotEnabled
        | DisableTotpOutcome::ProofSpent
        | DisableTotpOutcome::SessionEnded => {
            Err(Failure::new(format!("{id} has no second factor; there is nothing to remove.")))
        }
    }
}

async fn set_password(named: &str, overrides: &Overrides) -> Result<(), Failure> {
    let configuration = super::configuration(overrides)?;
    let store = super::open_existing(&configuration.store).await?;
    let user = super::find_user(&*store, named).await?;
    // Before a password is asked for, too.
    let (id, at) = (user.id, assembly::now());
    let told = Mail::PasswordChanged(Occasion::new(at, None));
    let notice = assembly::notice(&configuration, &*store, &user, told, at).await?;
    let told = if notice.is_some() { ", and is told so by mail" } else { "" };
    let hash = read_hash(&configuration.policy, &user.email, user.name.as_deref()).await?;
    let change = UserChange::Password(GivenPassword { hash, notice });
    change_found(&*store, id, named, change).await?;
    Ok(output::line(&format!("{id} is signed out and has the new password{told}."))?)
}

async fn delete(store: &dyn Store, named: &str) -> Result<(), Failure> {
    let id = super::find_user(store, named).await?.id;
    // The operator may delete the last administrator too.
    match store.delete_user(id, DeleteGuard::default(), &super::audit_context()).await? {
        DeleteUserOutcome::Deleted => Ok(output::line(&format!("{id} is deleted."))?),
        DeleteUserOutcome::Unmatched
        | DeleteUserOutcome::LastOfRole
        | DeleteUserOutcome::SessionEnded
        | DeleteUserOutcome::Spared => Err(super::no_user(named)),
    }
}

/// Of the password on the input, where the policy takes it for a user of this address and name.
async fn read_hash(
    policy: &Policy,
    email: &str,
    name: Option<&str>,
) -> Result<PasswordHash, Failure> {
    let password = read_password()?;
    judge(policy, &password, &[email, name.unwrap_or_default(), &policy.web.public_url])?;
    assembly::hash(&policy.hashing, password).await
}

/// The first line of the input.
fn read_password() -> Result<Password, Failure> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(PASSWORD_INPUT_BYTES_MAX));
    std::io::stdin().lock().take(PASSWORD_INPUT_BYTES_MAX as u64).read_to_end(&mut bytes)?;
    let text = std::str::from_utf8(&bytes).ok().and_then(|text| text.lines().next());
    let text = text.filter(|line| !line.is_empty()).ok_or_else(|| {
        Failure::new("The input holds no password in UTF-8; write it on the first line.")
    })?;
    Password::parse(text)
        .ok_or_else(|| Failure::new("The password is too long; take one of at most 1024 bytes."))
}

fn judge(policy: &Policy, password: &Password, context: &[&str]) -> Result<(), Failure> {
    policy.password.judge(password, context).map_err(refusal)?;
    let Some(path) = &policy.breached_list else { return Ok(()) };
    let is_breached = BreachedList::open(path).and_then(|list| list.holds(password));
    match is_breached {
        Ok(true) => Err(refusal(PasswordRefusal::Breached)),
        Ok(false) => Ok(()),
        Err(error) => Err(Failure::new(format!(
            "password.breached_list cannot be used ({error}); `keyward check` tells more."
        ))),
    }
}

fn refusal(refusal: PasswordRefusal) -> Failure {
    match refusal {
        PasswordRefusal::Breached => {
            Failure::new("The password is in the list of leaked ones; take another one.")
        }
        PasswordRefusal::Guessable => Failure::new(
            "The password is among the first that anyone would guess; take a less common one.",
        ),
        PasswordRefusal::TooShort { min_length } => Failure::new(format!(
            "The password is too short; take one of at least {min_length} characters."
        )),
    }
}

fn sorted(mut roles: Vec<String>) -> Result<Vec<String>, Failure> {
    roles.sort_unstable();
    roles.dedup();
    if roles.len() > ROLES_MAX {
        return Err(Failure::new(format!("A user has at most {ROLES_MAX} roles; name fewer.")));
    }
    Ok(roles)
}

fn row(user: &User) -> [String; 6] {
    [
        user.id.to_string(),
        user.email.clone(),
        output::cell(user.name.as_ref()),
        roles_cell(user),
        user.created_at.to_rfc3339(),
        time_cell(user.disabled_at),
    ]
}

fn roles_cell(user: &User) -> String {
    output::cell(Some(user.roles.join(", ")).filter(|roles| !roles.is_empty()))
}

fn time_cell(at: Option<Timestamp>) -> String {
    output::cell(at.map(Timestamp::to_rfc3339))
}

fn object(user: &User) -> Value {
    json!({
        "id": user.id.to_string(),
        "email": user.email,
        "name": user.name,
        "roles": user.roles,
        "emailVerified": user.email_verified,
        "mfaEnabled": user.mfa_enabled_at.is_some(),
        "createdAt": user.created_at.to_rfc3339(),
        "disabledAt": user.disabled_at.map(Timestamp::to_rfc3339),
        "lastLoginAt": user.last_login_at.map(Timestamp::to_rfc3339),
        "lastLogoutAt": user.last_logout_at.map(Timestamp::to_rfc3339),
        "claims": user.claims,
    })
}

fn role(text: &str) -> Result<String, String> {
    if is_role(text) {
        return Ok(text.to_owned());
    }
    Err(format!("write up to {ROLE_BYTES_MAX} letters, digits, -, _, . and :"))
}

/// How many sessions of either kind are shown beside an account.
const SESSIONS_MAX: u32 = 100;

/// How many accounts are asked for at once.
const PAGE: u32 = 500;

/// More than any password and its line break.
const PASSWORD_INPUT_BYTES_MAX: usize = 4096;

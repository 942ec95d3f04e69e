//! How the parts of the library become a running service: the one place that picks them.

use std::path::PathBuf;
use std::sync::Arc;

use keyward::clock::{Clock as _, SystemClock};
use keyward::entropy::{self, SystemEntropy};
use keyward::hashing::HashPool;
use keyward::mail::{FolderMailer, Mail, Mailer, Mailing, SmtpMailer, Templates};
use keyward::policy::{HashingPolicy, Policy};
use keyward::service::{self, KeyringError, Keyward, Parts};
use keyward::shared::SharedState;
#[cfg(feature = "valkey")]
use keyward::shared::Valkey;
#[cfg(feature = "postgres")]
use keyward::store::PostgresStore;
use keyward::store::{Migration, PasswordHash, QueuedMail, SqliteStore, Store, User};
use keyward_core::audit::AuditContext;
use keyward_core::keys::MasterKey;
use keyward_core::password::Password;
use keyward_core::time::Timestamp;

use crate::config::{Configuration, Finding, MailSettings, MailWay, SharedSettings, StoreSettings};
use crate::failure::Failure;
#[cfg(feature = "postgres")]
use crate::output;

/// Opens the store, and applies its migrations; a file is made where it is not there.
pub(crate) async fn open_store(settings: &StoreSettings) -> Result<Arc<dyn Store>, Failure> {
    Ok(match settings {
        StoreSettings::Sqlite(path) => Arc::new(SqliteStore::open(path, now())?),
        #[cfg(feature = "postgres")]
        StoreSettings::Postgres(settings) => Arc::new(PostgresStore::open(settings, now()).await?),
    })
}

/// Applies the migrations of the store, and says on the terminal whom they wait for.
pub(crate) async fn migrate(settings: &StoreSettings) -> Result<(), Failure> {
    match settings {
        StoreSettings::Sqlite(_) => {}
        #[cfg(feature = "postgres")]
        StoreSettings::Postgres(settings) => {
            PostgresStore::migrate(settings, now(), say).await?;
        }
    }
    open_store(settings).await.map(drop)
}

/// What others call their programs is in it.
#[cfg(feature = "postgres")]
fn say(waiting: &str) {
    output::progress(&output::printable(waiting));
}

/// Every migration that this version knows, and since when each is applied to the store. Changes
/// nothing.
pub(crate) async fn migrations(settings: &StoreSettings) -> Result<Vec<Migration>, Failure> {
    Ok(match settings {
        StoreSettings::Sqlite(path) => SqliteStore::migrations(path)?,
        #[cfg(feature = "postgres")]
        StoreSettings::Postgres(settings) => PostgresStore::migrations(settings).await?,
    })
}

/// Whether a start may apply the migrations that are to come.
pub(crate) async fn may_migrate(settings: &StoreSettings) -> Result<bool, Failure> {
    Ok(match settings {
        // Whoever may write to the file may.
        StoreSettings::Sqlite(_) => true,
        #[cfg(feature = "postgres")]
        StoreSettings::Postgres(settings) => PostgresStore::may_migrate(settings).await?,
    })
}

/// What is weak about the store's server, each as the end of a sentence about the store's URL.
pub(crate) async fn weaknesses(settings: &StoreSettings) -> Result<Vec<String>, Failure> {
    match settings {
        // The store sets what is needed for itself.
        StoreSettings::Sqlite(_) => Ok(Vec::new()),
        #[cfg(feature = "postgres")]
        StoreSettings::Postgres(settings) => {
            let store = PostgresStore::open(settings, now()).await?;
            let settings = store.weak_settings().await?;
            let weak = |name: String| {
                format!(
                    "names a server with {name} = off, which may bring spent tokens back after a \
                     crash; set it to on"
                )
            };
            let mut weaknesses: Vec<String> = settings.into_iter().map(weak).collect();
            if store.may_do_anything().await? {
                let complaint = "names a role that owns the tables or is a superuser, so that its \
                     password is enough to rewrite the audit log; make one for the service, and \
                     name it in `keyward migrate --grant-to ROLE`";
                weaknesses.push(complaint.to_owned());
            }
            Ok(weaknesses)
        }
    }
}

/// What the role of the service was not granted, each in a sentence.
#[derive(Debug, Default)]
pub(crate) struct LackingRights {
    /// Without these it answers requests with 503.
    pub(crate) to_serve: Option<String>,
    /// Without these functions of the schema it serves, but what has had its time stays, and the
    /// audit log gets no months.
    pub(crate) for_upkeep: Option<String>,
}

/// Asks the store's server what its role may not do.
pub(crate) async fn lacking_rights(settings: &StoreSettings) -> Result<LackingRights, Failure> {
    match settings {
        StoreSettings::Sqlite(_) => Ok(LackingRights::default()),
        #[cfg(feature = "postgres")]
        StoreSettings::Postgres(settings) => {
            let lacking = PostgresStore::open(settings, now()).await?.lacking_rights().await?;
            let (for_upkeep, to_serve): (Vec<_>, Vec<_>) =
                lacking.into_iter().partition(|right| right.contains(" on FUNCTION "));
            let told = |rights: Vec<String>| {
                let (rights, role) = (rights.join(", "), settings.role());
                (!rights.is_empty()).then(|| {
                    format!(
                        "its role {role} lacks rights that this version needs ({rights}); run \
                         `keyward migrate --grant-to {role}` as the owner of the schema"
                    )
                })
            };
            Ok(LackingRights { to_serve: told(to_serve), for_upkeep: told(for_upkeep) })
        }
    }
}

/// Applies the migrations, and grants a role what `keyward serve` needs.
pub(crate) async fn grant(settings: &StoreSettings, role: &str) -> Result<(), Failure> {
    match settings {
        StoreSettings::Sqlite(_) => Err(Failure::new(format!(
            "SQLite has no roles, and {role} cannot be granted anything; leave --grant-to out."
        ))),
        #[cfg(feature = "postgres")]
        StoreSettings::Postgres(settings) => {
            PostgresStore::migrate(settings, now(), say).await?;
            Ok(PostgresStore::open(settings, now()).await?.grant(role).await?)
        }
    }
}

/// Starts the service. What it shares with other nodes is reached in the background.
pub(crate) async fn start(
    policy: Policy,
    store: Arc<dyn Store>,
    master_key: MasterKey,
    shared: Option<&SharedSettings>,
    mail: Option<&MailSettings>,
) -> Result<Keyward, Failure> {
    let clock = Arc::new(SystemClock);
    let entropy = Arc::new(SystemEntropy::new());
    let shared = shared.map(|settings| share(settings, &master_key));
    let mailing = mail.map(|settings| mailing(settings, &policy)).transpose();
    let mailing = mailing.map_err(|finding| Failure::of_configuration(&[finding]))?;
    let parts = Parts { policy, store, master_key, clock, entropy, shared, mailing };
    Keyward::start(parts).await.map_err(|error| Failure::new(format!("{error}.")))
}

/// Opens every key of a store that has keys.
pub(crate) async fn try_keys(
    configuration: &Configuration,
    store: Arc<dyn Store>,
    master_key: MasterKey,
) -> Result<(), Failure> {
    // Mail is tried by itself. Here it only has to be there, where the policy asks for it.
    let mail = configuration.mail.as_ref().map(|mail| MailSettings {
        way: MailWay::Folder(PathBuf::new()),
        templates: None,
        sender: mail.sender.clone(),
    });
    start(configuration.policy.clone(), store, master_key, None, mail.as_ref()).await.map(drop)
}

/// Counts something of no meaning in the shared state, and sends a hint to nobody.
pub(crate) async fn try_shared(settings: &SharedSettings) -> Result<(), Failure> {
    match *settings {
        #[cfg(feature = "valkey")]
        SharedSettings::Valkey(ref settings) => {
            // Under names that no node uses.
            let valkey = Valkey::new(settings, &MasterKey::new(&random()));
            valkey.probe().await.map_err(|error| Failure::new(error.to_string()))
        }
    }
}

/// Reads the templates and tries the way that mails take, without sending one.
pub(crate) async fn try_mail(settings: &MailSettings, policy: &Policy) -> Result<(), Finding> {
    let probed = mailing(settings, policy)?.mailer.probe().await;
    probed.map_err(|error| Finding::of("mail.url", format!("does not work: {error}")))
}

fn mailing(settings: &MailSettings, policy: &Policy) -> Result<Mailing, Finding> {
    let templates = Templates::built_in(policy);
    let templates = match &settings.templates {
        Some(folder) => templates
            .with_folder(folder)
            .map_err(|error| Finding::of("mail.templates", format!("does not work: {error}")))?,
        None => templates,
    };
    let sender = settings.sender.clone();
    let mailer: Arc<dyn Mailer> = match &settings.way {
        MailWay::Folder(folder) => Arc::new(FolderMailer::new(folder.clone(), sender)),
        MailWay::Smtp(smtp) => {
            Arc::new(SmtpMailer::new(smtp, sender).map_err(|why| Finding::of("mail.url", why))?)
        }
    };
    Ok(Mailing { mailer, templates })
}

#[cfg_attr(not(feature = "valkey"), expect(unused_variables, reason = "there is nothing to share"))]
fn share(settings: &SharedSettings, master_key: &MasterKey) -> Arc<dyn SharedState> {
    match *settings {
        #[cfg(feature = "valkey")]
        SharedSettings::Valkey(ref settings) => Arc::new(Valkey::new(settings, master_key)),
    }
}

/// Seals every key of the store with another master key.
pub(crate) async fn reseal(
    store: &dyn Store,
    from: &MasterKey,
    to: &MasterKey,
    context: &AuditContext,
) -> Result<service::Resealing, Failure> {
    let sealed = service::reseal(store, from, to, &SystemEntropy::new(), context).await;
    sealed.map_err(|error| Failure::new(format!("{error}.")))
}

/// A mail to a user of what is done from here, for the services on the store to send; `None` where
/// they send none. Refused where those services could not open it.
pub(crate) async fn notice(
    configuration: &Configuration,
    store: &dyn Store,
    user: &User,
    mail: Mail,
    at: Timestamp,
) -> Result<Option<QueuedMail>, Failure> {
    if configuration.mail.is_none() {
        return Ok(None);
    }
    let source = &configuration.master_key;
    let master_key = source.find().map_err(Failure::new)?.ok_or_else(|| {
        Failure::new(format!(
            "The user is told by mail, which the master key seals, and it is missing; put {} back.",
            source.place()
        ))
    })?;
    service::try_master_key(store, &master_key).await.map_err(|error| match error {
        KeyringError::Sealed { .. } => Failure::new(format!(
            "The user is told by mail, which the services could not open: {} is not the master \
             key that seals the keys of their store. Put theirs there; nothing was changed.",
            source.place()
        )),
        error => Failure::new(format!("{error}.")),
    })?;
    Ok(Some(service::notice(user, mail, &master_key, &SystemEntropy::new(), at)))
}

/// Hashes one password.
pub(crate) async fn hash(
    policy: &HashingPolicy,
    password: Password,
) -> Result<PasswordHash, Failure> {
    let pool = HashPool::new(&HashingPolicy { concurrency_max: 1, ..policy.clone() })?;
    pool.hash(password, random())
        .await
        .map_err(|_| Failure::new("The password could not be hashed; try again."))
}

/// The present.
pub(crate) fn now() -> Timestamp {
    SystemClock.now()
}

/// So many fresh bytes of the operating system's randomness.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    entropy::array(&SystemEntropy::new())
}

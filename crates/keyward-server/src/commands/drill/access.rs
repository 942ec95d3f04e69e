//! How the drill comes by what only an administrator may do: a service key that was brought along,
//! or one of its own, made in the store that is at hand and revoked afterwards.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use keyward::policy::Policy;
use keyward::store::Store;
use keyward_core::id::ServiceKeyId;
use keyward_core::service_key::{Scope, ServiceKey, ServiceKeyRecord};
use zeroize::Zeroizing;

use super::Arguments;
use super::target::{Answer, Request, Target};
use crate::assembly;
use crate::commands;
use crate::config::secret_file::{self, Secret};
use crate::config::{self, Configuration, Overrides};
use crate::failure::Failure;

/// The service, and the key to its admin API.
pub(super) struct Access {
    pub(super) target: Target,
    admin_path: String,
    key: Zeroizing<String>,
    /// Where the key has to be revoked again.
    own: Option<OwnKey>,
}

struct OwnKey {
    store: Arc<dyn Store>,
    id: ServiceKeyId,
}

impl Access {
    /// Finds the service and a key to it.
    ///
    /// # Errors
    ///
    /// Where neither a key nor a store is at hand, or the address is none.
    pub(super) async fn find(
        arguments: &Arguments,
        overrides: &Overrides,
    ) -> Result<Self, Failure> {
        let brought = brought_key(arguments.service_key_file.as_deref())?;
        // With key and address nothing on this machine matters.
        let configuration = match (&brought, &arguments.url) {
            (Some(_), Some(_)) => None,
            _ => Some(commands::configuration(overrides)?),
        };
        let configured = configuration.as_ref().map(|found| found.policy.web.clone());
        let url = arguments.url.as_deref().or(configured.as_ref().map(|web| &*web.public_url));
        let url = url.unwrap_or_default();
        let mut web = configured.clone().unwrap_or_else(|| Policy::new(url).web);
        if let Some(path) = &arguments.base_path {
            path.trim_end_matches('/').clone_into(&mut web.base_path);
        }
        let target = Target::at(url, &web.base_path, arguments.ca_file.as_deref())?;
        let admin_path = web.admin_path();
        let (key, own) = match (brought, configuration) {
            (Some(key), _) => (key, None),
            (None, Some(configuration)) => {
                require_own(&target, &configuration)?;
                let (key, own) = OwnKey::insert(&configuration).await?;
                (key, Some(own))
            }
            (None, None) => return Err(neither()),
        };
        Ok(Self { target, admin_path, key, own })
    }

    /// The admin API of the service.
    pub(super) fn administration(&self) -> Administration<'_> {
        Administration(self)
    }

    /// Revokes the key, where it was the drill's own.
    pub(super) async fn release(self) -> Result<(), Failure> {
        let Some(OwnKey { store, id }) = self.own else { return Ok(()) };
        store.revoke_service_key(id, &commands::audit_context()).await?;
        Ok(())
    }
}

/// What only an administrator may ask of the service.
#[derive(Clone, Copy)]
pub(super) struct Administration<'a>(&'a Access);

impl Administration<'_> {
    /// Sends a request to a route of the admin API.
    pub(super) async fn send(&self, request: Request) -> Result<Answer, Failure> {
        let Access { target, admin_path, key, .. } = self.0;
        target.send_to(admin_path, request.bearer(key)).await
    }

    /// The answer, where the key was good for it.
    pub(super) fn permitted(&self, answer: Answer) -> Result<Answer, Failure> {
        let Access { target, admin_path, own, .. } = self.0;
        let origin = target.origin();
        match answer.status {
            401 if own.is_some() => Err(Failure::new(format!(
                "The service at {origin} runs over another store than the one here; name its \
                 folder with --data-dir, or bring a key with --service-key-file."
            ))),
            401 => Err(Failure::new(format!(
                "The service at {origin} does not accept the key; {MAKE_A_KEY}."
            ))),
            403 => Err(Failure::new(format!(
                "The key lacks a scope that the drill needs; {MAKE_A_KEY}."
            ))),
            404 => Err(Failure::new(format!(
                "There is no Keyward with an admin API at {origin}{admin_path}; name its address \
                 with --url and its path with --base-path."
            ))),
            _ => Ok(answer),
        }
    }
}

impl OwnKey {
    /// Makes a key that is good for a drill and for minutes only.
    async fn insert(configuration: &Configuration) -> Result<(Zeroizing<String>, Self), Failure> {
        if !commands::is_there(&configuration.store).await? {
            return Err(neither());
        }
        let store = assembly::open_store(&configuration.store).await?;
        let context = commands::audit_context();
        let key = ServiceKey::issue(&Zeroizing::new(assembly::random()));
        let id = ServiceKeyId::new(context.at, assembly::random());
        let record = ServiceKeyRecord {
            id,
            name: "keyward drill".to_owned(),
            hash: key.hash(),
            scopes: [Scope::AuditRead, Scope::UsersWrite].into(),
            created_at: context.at,
            expires_at: Some(context.at.plus(KEY_LIFE)),
            revoked_at: None,
        };
        store.insert_service_key(record, &context).await?;
        Ok((Zeroizing::new(key.expose().to_owned()), Self { store, id }))
    }
}

/// The key of the file, or else of the environment.
fn brought_key(file: Option<&Path>) -> Result<Option<Zeroizing<String>>, Failure> {
    let key = match file {
        Some(file) => Some(
            secret_file::read(file, Secret::Given("service key"))
                .map_err(|why| Failure::new(format!("The service key cannot be used: {why}.")))?,
        ),
        None => config::service_key(),
    };
    match key {
        Some(key) if ServiceKey::parse(&key).is_none() => {
            Err(Failure::new(format!("What was brought is no service key; {MAKE_A_KEY}.")))
        }
        key => Ok(key),
    }
}

/// A key of the store at hand opens every account in it, and so is shown to nobody but its service.
fn require_own(target: &Target, configuration: &Configuration) -> Result<(), Failure> {
    let public_url = &configuration.policy.web.public_url;
    if target.is_loopback() || target.origin() == public_url {
        return Ok(());
    }
    Err(Failure::new(format!(
        "A key from the store here goes to {public_url} or to this machine only, and not to {}; \
         bring a key of that service with --service-key-file.",
        target.origin()
    )))
}

fn neither() -> Failure {
    Failure::new(
        "There is no database here to make a service key in; name the service's folder with \
         --data-dir or --config, or bring a key with --url and --service-key-file.",
    )
}

const MAKE_A_KEY: &str = "make one with `keyward service-key create --name drill --scope \
                          users:write --scope audit:read --expires-in 1h`";

/// Longer than a drill takes, the wait for race windows and counted events included.
const KEY_LIFE: Duration = Duration::from_secs(30 * 60);

//! Where a rehearsal is played: whoever acts here leaves a trace of what was answered, and when.

use std::time::Duration;

use serde_json::json;
use tokio::time::{self, Instant};

use super::account::Account;
use super::browser::Browser;
use super::target::{Answer, Request, Target};
use crate::failure::Failure;

/// One rehearsal while it is played.
pub(super) struct Stage<'a> {
    target: &'a Target,
    account: &'a mut Account,
    trace: Trace,
    attack_began: Option<Instant>,
}

/// What is left of a rehearsal.
#[derive(Debug, Default)]
pub(super) struct Trace {
    /// What was answered, in order.
    pub(super) happened: Vec<String>,
    /// The requests, as the audit events name them.
    pub(super) request_ids: Vec<String>,
    /// From the attack until it was refused.
    pub(super) refused_after: Option<Duration>,
    /// From the attack until the stolen access token was refused.
    pub(super) access_refused_after: Option<Duration>,
}

impl<'a> Stage<'a> {
    /// An empty stage.
    pub(super) fn new(target: &'a Target, account: &'a mut Account) -> Self {
        Self { target, account, trace: Trace::default(), attack_began: None }
    }

    /// What was done.
    pub(super) fn into_trace(self) -> Trace {
        self.trace
    }

    /// Signs the owner of the account in. This is no part of what is rehearsed, and so must work.
    pub(super) async fn sign_in(&self) -> Result<Browser, Failure> {
        let answer = self.target.send(self.account.login()).await?;
        let answer = answer.require(200, "Signing in")?;
        let mut browser = Browser::default();
        browser.take_up(&answer);
        if browser.is_signed_in() {
            return Ok(browser);
        }
        Err(Failure::new(
            "The service's answer to a sign-in holds no tokens; is this the address of Keyward?",
        ))
    }

    /// Sends a request and keeps what was answered.
    pub(super) async fn send(&mut self, request: Request) -> Result<Answer, Failure> {
        let answer = self.target.send(request).await?;
        self.trace.happened.push(answer.outcome());
        self.trace.request_ids.push(answer.request_id.clone());
        Ok(answer)
    }

    /// Exchanges the refresh token of `browser`.
    pub(super) async fn refresh(&mut self, browser: &mut Browser) -> Result<(), Failure> {
        let answer = self.send(browser.refresh()).await?;
        browser.take_up(&answer);
        Ok(())
    }

    /// As [`Stage::refresh`], with an Idempotency-Key.
    pub(super) async fn refresh_with(
        &mut self,
        browser: &mut Browser,
        key: &str,
    ) -> Result<(), Failure> {
        let answer = self.send(browser.refresh().header("idempotency-key", key)).await?;
        browser.take_up(&answer);
        Ok(())
    }

    /// From here on the attack is under way.
    pub(super) fn attack_begins(&mut self) {
        self.attack_began = Some(Instant::now());
    }

    /// Sends what should be refused, and takes the time.
    pub(super) async fn attack(&mut self, request: Request) -> Result<(), Failure> {
        self.attack_begins();
        self.send(request).await?;
        self.trace.refused_after = self.since_attack();
        Ok(())
    }

    /// Presents a token that another party has spent. Where the service has a race window it is
    /// answered 409 so long, and comes again, as a thief would.
    pub(super) async fn replay(&mut self, browser: &mut Browser) -> Result<(), Failure> {
        self.attack_begins();
        let deadline = Instant::now() + RACE_WINDOW_MAX;
        loop {
            let answer = self.target.send(browser.refresh()).await?;
            self.trace.request_ids.push(answer.request_id.clone());
            if answer.status == 409 && Instant::now() < deadline {
                time::sleep(RACE_INTERVAL).await;
                continue;
            }
            self.trace.happened.push(answer.outcome());
            self.trace.refused_after = self.since_attack();
            browser.take_up(&answer);
            return Ok(());
        }
    }

    /// Presents one token many times at once: how many exchanged it, and how that was noticed.
    pub(super) async fn storm(&mut self, browser: &mut Browser, times: u32) -> Result<(), Failure> {
        let mut spent = browser.clone();
        self.attack_begins();
        let presentations = (0..times).map(|_| self.target.send(spent.refresh()));
        let answers = futures_util::future::join_all(presentations).await;
        self.trace.refused_after = self.since_attack();
        let (mut exchanged, mut noticed) = (0, None);
        for answer in answers {
            let answer = answer?;
            match answer.status {
                200 => {
                    exchanged += 1;
                    browser.take_up(&answer);
                }
                _ => noticed = noticed.or(Some(answer.outcome()).filter(|text| text == REUSED)),
            }
            self.trace.request_ids.push(answer.request_id);
        }
        self.trace.happened.push(format!("{exchanged} of {times} exchanged"));
        match noticed {
            Some(outcome) => self.trace.happened.push(outcome),
            // Within a race window none of them was.
            None => self.replay(&mut spent).await?,
        }
        Ok(())
    }

    /// Guesses passwords of an account that there is not, until guessing is limited.
    pub(super) async fn guess_passwords(&mut self) -> Result<(), Failure> {
        let nobody = Account::nobody();
        for _ in 0..GUESSES_MAX {
            self.attack_begins();
            let answer = self.target.send(nobody.login()).await?;
            self.trace.request_ids.push(answer.request_id.clone());
            if answer.status != 401 {
                self.trace.happened.push(answer.outcome());
                self.trace.refused_after = self.since_attack();
                return Ok(());
            }
        }
        self.trace.happened.push(format!("{GUESSES_MAX} guesses went through"));
        Ok(())
    }

    /// Changes the password, from a session of its own.
    pub(super) async fn change_password(&mut self, browser: &mut Browser) -> Result<(), Failure> {
        let new_password = Account::fresh_password();
        let body = json!({
            "currentPassword": self.account.password.as_str(),
            "newPassword": new_password.as_str(),
        });
        let answer = self.send(browser.post("/password/change").json(body)).await?;
        if answer.status == 200 {
            self.account.password = new_password;
            browser.take_up(&answer);
        }
        Ok(())
    }

    /// Uses an access token until it is refused, for so long as a person would call at once.
    pub(super) async fn use_until_refused(&mut self, browser: &Browser) -> Result<(), Failure> {
        let deadline = Instant::now() + REFUSAL_DELAY_MAX;
        loop {
            let answer = self.target.send(browser.me()).await?;
            if answer.status != 200 || Instant::now() >= deadline {
                self.trace.happened.push(answer.outcome());
                self.trace.request_ids.push(answer.request_id);
                let refused_after = self.since_attack().filter(|_| answer.status != 200);
                self.trace.access_refused_after = refused_after;
                return Ok(());
            }
            time::sleep(REFUSAL_INTERVAL).await;
        }
    }

    fn since_attack(&self) -> Option<Duration> {
        self.attack_began.map(|began| began.elapsed())
    }
}

const REUSED: &str = "401 REFRESH_TOKEN_REUSED";

/// Longer than any race window that can be configured.
const RACE_WINDOW_MAX: Duration = Duration::from_secs(65);
const RACE_INTERVAL: Duration = Duration::from_secs(1);

/// For how long an access token may be found still good before that counts as not refused.
const REFUSAL_DELAY_MAX: Duration = Duration::from_secs(2);
const REFUSAL_INTERVAL: Duration = Duration::from_millis(20);

/// Far below the failures that an address may have, so that a drill locks nobody out.
const GUESSES_MAX: u32 = 30;

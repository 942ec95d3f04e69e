//! A browser that keeps the client's part, and a thief who need not.

use keyward_core::id::SessionId;
use keyward_core::time::Timestamp;

use crate::common::Answer;
use crate::message::{Act, Jar, Message, Party, Said};
use crate::planted::{Bug, is};

/// Several tabs over one cookie jar and one durable store for the pending key.
#[derive(Debug)]
pub(crate) struct Browser {
    number: usize,
    pub(crate) jar: Jar,
    /// The key of the rotation that has begun; outlives tabs and requests.
    pub(crate) pending_key: Option<String>,
    keys_made: u64,
    /// The requests on their way that may touch the cookies, with the tabs that wait for them.
    awaited: Vec<Awaited>,
    /// The session of which it last heard that it lives.
    pub(crate) signed_in: Option<SessionId>,
    bug: Option<Bug>,
}

#[derive(Debug, Clone, Copy)]
struct Awaited {
    tab: u64,
    message: u64,
    /// Whether a 409 may still be answered by another try.
    may_try_again: bool,
}

/// What a tab does after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Nothing,
    /// Refresh once more, in this tab and under the same lock.
    TryAgain {
        tab: u64,
    },
}

impl Browser {
    pub(crate) fn new(number: usize, bug: Option<Bug>) -> Self {
        Self {
            number,
            jar: Jar::default(),
            pending_key: None,
            keys_made: 0,
            awaited: Vec::new(),
            signed_in: None,
            bug,
        }
    }

    /// Drops cookies that are too old. Without one of the two a page takes itself for signed out.
    pub(crate) fn expire(&mut self, now: Timestamp) {
        let was_there = self.jar.usable_token().is_some();
        self.jar.expire(now);
        if was_there && self.jar.usable_token().is_none() {
            self.signed_in = None;
        }
    }

    /// The tab may send: no other request that could touch the cookies is on its way.
    pub(crate) fn may_send(&self, tab: u64) -> bool {
        if is(self.bug, Bug::NoLock) {
            return self.awaited.iter().all(|awaited| awaited.tab != tab);
        }
        self.awaited.is_empty()
    }

    /// Reads the pending key, or makes and stores one, and sends. The lock is held until the answer
    /// is there or the tab gives up.
    pub(crate) fn send(&mut self, id: u64, tab: u64, act: Act, is_first: bool) -> Message {
        let key = (act == Act::Refresh).then(|| self.key());
        self.awaited.push(Awaited { tab, message: id, may_try_again: is_first });
        Message::new(id, Party::Browser(self.number), act, &self.jar, key)
    }

    /// A request beside the lock: it touches no cookie.
    pub(crate) fn ask_who_i_am(&self, id: u64) -> Message {
        Message::new(id, Party::Browser(self.number), Act::Me, &self.jar, None)
    }

    /// Whether a tab still waits for this request.
    pub(crate) fn awaits(&self, message: u64) -> bool {
        self.awaited.iter().any(|awaited| awaited.message == message)
    }

    /// The requests that tabs wait for.
    pub(crate) fn awaited(&self) -> impl Iterator<Item = u64> {
        self.awaited.iter().map(|awaited| awaited.message)
    }

    /// The tab is closed or has waited for too long: the request is aborted, and its answer will
    /// not reach the jar. The key stays.
    pub(crate) fn give_up(&mut self, message: u64) {
        self.awaited.retain(|awaited| awaited.message != message);
    }

    /// An answer arrives. The one to an aborted request is not for this jar.
    pub(crate) fn receive(&mut self, message: &Message, answer: &Answer, now: Timestamp) -> Next {
        let Some(awaited) = self.awaited.iter().find(|found| found.message == message.id).copied()
        else {
            return Next::Nothing;
        };
        self.give_up(message.id);
        self.jar.keep(answer, now);
        let said = Said::in_answer(answer);
        if let Some(token) = &said.token {
            self.signed_in = Some(token.session);
        } else if said.clears {
            self.signed_in = None;
        }
        if message.act != Act::Refresh {
            return Next::Nothing;
        }
        if matches!(said.status.as_u16(), 200 | 401 | 409) {
            self.pending_key = None;
        }
        if said.status.as_u16() == 409 && awaited.may_try_again {
            return Next::TryAgain { tab: awaited.tab };
        }
        Next::Nothing
    }

    fn key(&mut self) -> String {
        let forgets = is(self.bug, Bug::FreshKeyOnResend) || is(self.bug, Bug::NoLock);
        if self.pending_key.is_none() || forgets {
            self.keys_made += 1;
            self.pending_key =
                Some(format!("browser {} rotation {:04}", self.number, self.keys_made));
        }
        self.pending_key.clone().expect("it was just stored")
    }
}

/// Somebody with a copy of a browser's cookies, perhaps of its pending key too.
#[derive(Debug, Default)]
pub(crate) struct Thief {
    pub(crate) jar: Jar,
    pub(crate) stolen_key: Option<String>,
    keys_made: u64,
}

impl Thief {
    /// Copies what the browser holds at this moment.
    pub(crate) fn copy(&mut self, browser: &Browser, with_key: bool) {
        self.jar = browser.jar.clone();
        self.stolen_key = browser.pending_key.clone().filter(|_| with_key);
    }

    /// Presents the token under the stolen key, where there is one, or a key of its own.
    pub(crate) fn refresh(&mut self, id: u64) -> Message {
        let key = self.stolen_key.clone().unwrap_or_else(|| {
            self.keys_made += 1;
            format!("the thief's rotation {:04}", self.keys_made)
        });
        Message::new(id, Party::Thief, Act::Refresh, &self.jar, Some(key))
    }

    /// Presents the token without a key.
    pub(crate) fn refresh_without_key(&self, id: u64) -> Message {
        Message::new(id, Party::Thief, Act::Refresh, &self.jar, None)
    }

    pub(crate) fn ask_who_i_am(&self, id: u64) -> Message {
        Message::new(id, Party::Thief, Act::Me, &self.jar, None)
    }

    pub(crate) fn receive(&mut self, message: &Message, answer: &Answer, now: Timestamp) {
        if matches!(answer.status.as_u16(), 200 | 401 | 409) && message.key == self.stolen_key {
            self.stolen_key = None;
        }
        self.jar.keep(answer, now);
    }
}

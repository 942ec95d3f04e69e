//! The ways between browsers and service: each message takes its own time, may come twice or never.

use std::rc::Rc;

use crate::common::Answer;
use crate::machine::Answering;
use crate::message::Message;
use crate::stepped_store::Point;

/// One copy of a message, and how far it has come.
pub(crate) struct Passage {
    pub(crate) message: Rc<Message>,
    pub(crate) stage: Stage,
}

pub(crate) enum Stage {
    /// On its way to the service.
    Leaving,
    /// The service works on it. `at` is where it stands.
    Arrived { answering: Answering, at: Option<Point> },
    /// Its answer is on its way back.
    Returning(Rc<Answer>),
}

impl Passage {
    pub(crate) fn leaving(message: Rc<Message>) -> Self {
        Self { message, stage: Stage::Leaving }
    }

    pub(crate) fn is_at_service(&self) -> bool {
        matches!(self.stage, Stage::Arrived { .. })
    }
}

//! What fails round after round, and is logged once.

/// Lets an error through where the round before met none, or another one.
#[derive(Debug)]
pub(crate) struct SaidOnce<E>(Option<E>);

impl<E: PartialEq> SaidOnce<E> {
    pub(crate) fn new() -> Self {
        Self(None)
    }

    /// The error of this round, if it has to be said.
    pub(crate) fn news(&mut self, outcome: Result<(), E>) -> Option<&E> {
        let failed = outcome.err();
        let is_news = failed != self.0;
        self.0 = failed;
        self.0.as_ref().filter(|_| is_news)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_said_again_only_after_another_or_none() {
        let mut said = SaidOnce::new();
        for (outcome, news) in [
            (Err("down"), Some("down")),
            (Err("down"), None),
            (Err("full"), Some("full")),
            (Ok(()), None),
            (Err("full"), Some("full")),
        ] {
            assert_eq!(said.news(outcome), news.as_ref());
        }
    }
}

//! A word between nodes that there is something new to read.

use tokio::sync::Notify;

/// Hints from this node to the others, and from any node to this one.
///
/// A hint says nothing but "read now", and many of them are as good as one: however many are sent
/// before the first has left, one leaves. One may be lost. So whoever waits for hints also reads
/// when none comes.
#[derive(Debug, Default)]
pub struct Hints {
    outgoing: Notify,
    incoming: Notify,
}

impl Hints {
    /// Tells the other nodes to read. Never waits.
    pub fn send(&self) {
        self.outgoing.notify_one();
    }

    /// Waits for a hint. One that came while nobody waited is there at once. For one reader: of two
    /// that wait, one gets it.
    pub async fn next(&self) {
        self.incoming.notified().await;
    }

    /// Waits until there is a hint to carry to the others.
    pub async fn to_send(&self) {
        self.outgoing.notified().await;
    }

    /// Passes on a hint that has come from another node.
    pub fn receive(&self) {
        self.incoming.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn a_burst_is_one_hint_and_none_is_lost() {
        let hints = Hints::default();
        assert_eq!(hints.next().now_or_never(), None);
        for _ in 0..1000 {
            hints.send();
            hints.receive();
        }
        assert_eq!(hints.to_send().now_or_never(), Some(()));
        assert_eq!(hints.to_send().now_or_never(), None);
        assert_eq!(hints.next().now_or_never(), Some(()));
        assert_eq!(hints.next().now_or_never(), None);
    }
}

//! Shapes of answers and of queries, as data beside the types that have them. The description of
//! the interface is written from these, and the tests hold every answer against it.

/// An object with a name of its own.
#[derive(Debug, Clone, Copy)]
pub(super) struct View {
    pub(super) name: &'static str,
    /// Whose members it has as well.
    pub(super) extends: Option<&'static Self>,
    pub(super) members: &'static [Member],
    /// Whether members may come that are not named here.
    pub(super) is_open: bool,
}

/// A member of an object, or a parameter of a query.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) presence: Presence,
}

/// When a member is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// In every answer.
    Always,
    /// Where access tokens are delivered in bodies.
    InBodyDelivery,
    /// Where there is something to say.
    Sometimes,
}

/// What a value is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// Anything.
    Any,
    /// `true` or `false`.
    Boolean,
    /// An address of e-mail.
    Email,
    /// A UUID.
    Id,
    /// A whole number from 0.
    Integer,
    /// A list.
    List(&'static Self),
    /// An object with members of any name.
    Map(&'static Self),
    /// One of these texts.
    Names(fn() -> Vec<&'static str>),
    /// `null`, or such a value.
    Nullable(&'static Self),
    /// A text.
    Text,
    /// A point in time, as RFC 3339 writes it.
    Time,
    /// An object.
    View(&'static View),
}

impl View {
    /// An object with these members and no others.
    pub(super) const fn new(name: &'static str, members: &'static [Member]) -> Self {
        Self { name, extends: None, members, is_open: false }
    }

    /// An object with the members of another one besides.
    pub(super) const fn extending(
        extends: &'static Self,
        name: &'static str,
        members: &'static [Member],
    ) -> Self {
        Self { name, extends: Some(extends), members, is_open: false }
    }

    /// Every member, those of the object that it extends first.
    pub(super) fn all_members(&self) -> Vec<&'static Member> {
        let mut members = self.extends.map(Self::all_members).unwrap_or_default();
        members.extend(self.members);
        members
    }
}

/// A member that is always there.
pub(super) const fn member(name: &'static str, kind: Kind) -> Member {
    Member { name, kind, presence: Presence::Always }
}

/// A member that may be there.
pub(super) const fn maybe(name: &'static str, kind: Kind) -> Member {
    Member { name, kind, presence: Presence::Sometimes }
}

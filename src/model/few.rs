//! A handful of things: nearly always one, kept in place, so that the usual flow allocates nothing.
//!
//! A flow is simulated alone; its tables hold only what its own packets made.

use serde::{Deserialize, Serialize};

/// Nearly always one `T`, sometimes a few more.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Few<T> {
    first: Option<T>,
    /// Boxed, because a flow that needs it is rare, and every byte of a flow counts a million times.
    #[allow(clippy::box_collection, reason = "eight bytes where there is nothing, in place of twenty-four")]
    rest: Option<Box<Vec<T>>>,
}

/// Which one, until the next removal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slot(pub(crate) usize);

impl<T> Default for Few<T> {
    fn default() -> Few<T> {
        Few::EMPTY
    }
}

impl<T> Few<T> {
    /// Nothing.
    pub const EMPTY: Few<T> = Few { first: None, rest: None };

    /// All of them, in no order that means anything but is always the same.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.first.iter().chain(self.others())
    }

    /// How many.
    pub fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.others().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// The only one, or that there is none; nothing where there are several.
    #[inline]
    pub(crate) fn only(&self) -> Option<Option<&T>> {
        self.others().is_empty().then_some(self.first.as_ref())
    }

    /// The only one, to change it; nothing where there is none or several.
    #[inline]
    pub(crate) fn only_mut(&mut self) -> Option<&mut T> {
        if self.others().is_empty() { self.first.as_mut() } else { None }
    }

    /// Puts this in the place of everything that was there.
    #[inline]
    pub(crate) fn set_only(&mut self, item: Option<T>) {
        self.first = item;
        if self.rest.is_some() {
            self.rest = None;
        }
    }

    /// Changes each of them.
    pub fn for_each_mut(&mut self, change: impl FnMut(&mut T)) {
        self.first.iter_mut().chain(self.rest.iter_mut().flat_map(|rest| rest.iter_mut())).for_each(change);
    }

    fn others(&self) -> &[T] {
        self.rest.as_ref().map_or(&[], |rest| rest.as_slice())
    }

    /// The one in a position, if there is one.
    pub(crate) fn at(&self, index: usize) -> Option<&T> {
        if index == 0 { self.first.as_ref() } else { self.others().get(index - 1) }
    }

    /// The one in a slot.
    ///
    /// # Panics
    /// If something was removed since the slot was handed out.
    pub fn get(&self, slot: Slot) -> &T {
        self.at(slot.0).expect("a slot is used before anything is removed")
    }

    /// The one in a slot, to change it.
    ///
    /// # Panics
    /// If something was removed since the slot was handed out.
    pub fn get_mut(&mut self, slot: Slot) -> &mut T {
        let found = if slot.0 == 0 { self.first.as_mut() } else { self.rest.as_mut().and_then(|rest| rest.get_mut(slot.0 - 1)) };
        found.expect("a slot is used before anything is removed")
    }

    /// The first one that fits.
    pub(crate) fn find_where(&self, fits: impl FnMut(&T) -> bool) -> Option<Slot> {
        self.iter().position(fits).map(Slot)
    }

    /// Adds one.
    pub(crate) fn push(&mut self, item: T) -> Slot {
        if self.first.is_none() {
            self.first = Some(item);
            Slot(0)
        } else {
            let rest = self.rest.get_or_insert_default();
            rest.push(item);
            Slot(rest.len())
        }
    }

    /// Removes one; other slots lose their meaning.
    pub(crate) fn remove(&mut self, slot: Slot) {
        if slot.0 == 0 {
            self.first = self.rest.as_mut().and_then(|rest| rest.pop());
        } else if let Some(rest) = &mut self.rest {
            rest.swap_remove(slot.0 - 1);
        }
    }

    /// Removes all that a predicate names.
    pub(crate) fn remove_where(&mut self, mut doomed: impl FnMut(&T) -> bool) {
        if let Some(rest) = &mut self.rest {
            rest.retain(|item| !doomed(item));
        }
        if self.first.as_ref().is_some_and(&mut doomed) {
            self.first = self.rest.as_mut().and_then(|rest| rest.pop());
        }
    }
}

//! Bounded queues between two stages.

use crossbeam_channel as channel;

/// How many items a link holds before its sender waits: 1 to [`Depth::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depth(usize);

impl Depth {
    /// The deepest link: more would only hide that a stage is too slow.
    pub const MAX: usize = 65_536;

    /// A depth, or `None` outside `1..=Depth::MAX`.
    #[must_use]
    pub const fn new(depth: usize) -> Option<Self> {
        if 1 <= depth && depth <= Self::MAX { Some(Self(depth)) } else { None }
    }

    /// The depth as a number of items.
    #[must_use]
    pub const fn get(self) -> usize {
        self.0
    }
}

/// The other side of a link is gone; the item that it did not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the other side of the link is gone")]
pub struct Disconnected<T>(pub T);

/// A link that holds at most `depth` items, first in, first out.
#[must_use]
pub fn link<T>(depth: Depth) -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = channel::bounded(depth.0);
    (Sender(sender), Receiver(receiver))
}

/// The end of a link that items go into. Clones feed the same link.
#[derive(Debug)]
pub struct Sender<T>(channel::Sender<T>);

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Sender<T> {
    /// Puts an item into the link; waits while it is full.
    ///
    /// # Errors
    /// If the receiver is gone: the item comes back.
    pub fn send(&self, item: T) -> Result<(), Disconnected<T>> {
        self.0.send(item).map_err(|error| Disconnected(error.0))
    }

    /// Puts an item into the link if there is room, without waiting; gives it
    /// back if there is none or the receiver is gone. For buffers on their way
    /// back, which may as well be freed.
    pub fn offer(&self, item: T) -> Option<T> {
        self.0.try_send(item).err().map(channel::TrySendError::into_inner)
    }
}

/// The end of a link that items come out of.
#[derive(Debug)]
pub struct Receiver<T>(channel::Receiver<T>);

impl<T> Receiver<T> {
    /// The next item; waits for one. `None` when the link is empty and every
    /// sender is gone.
    #[must_use]
    pub fn recv(&self) -> Option<T> {
        self.0.recv().ok()
    }

    /// The next item if there is one by now, without waiting.
    #[must_use]
    pub fn take(&self) -> Option<T> {
        self.0.try_recv().ok()
    }

    /// How many items wait in the link at this moment.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no item waits at this moment.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_item_comes_back() {
        let (sender, receiver) = link(Depth(1));
        assert_eq!(sender.offer(1), None);
        assert_eq!(sender.offer(2), Some(2));
        drop(receiver);
        assert_eq!(sender.send(3), Err(Disconnected(3)));
    }

    #[test]
    fn what_was_sent_is_received_after_the_sender_is_gone() {
        let (sender, receiver) = link(Depth(2));
        sender.send(1).expect("room");
        sender.send(2).expect("room");
        assert_eq!(receiver.len(), 2);
        drop(sender);
        assert_eq!((receiver.recv(), receiver.take(), receiver.recv()), (Some(1), Some(2), None));
    }

    #[test]
    fn a_depth_has_bounds() {
        assert_eq!(Depth::new(0), None);
        assert_eq!(Depth::new(Depth::MAX).map(Depth::get), Some(65_536));
        assert_eq!(Depth::new(Depth::MAX + 1), None);
    }
}

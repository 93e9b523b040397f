//! What is asked of the watch from outside, while it goes on.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tradejoin_config::nearest;

use crate::control::Reply;
use crate::failure;

/// Most that may wait.
const WAITING_MAX: usize = 16;
/// What has become of the tables, and where it takes effect.
const REPLIES_MAX: usize = 2;

/// What is asked and not done. Clones are the same queue.
#[derive(Clone, Debug)]
pub(crate) struct Asks(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// The names of the tables.
    tables: Vec<String>,
    /// `None` once nothing is done any more.
    waiting: Mutex<Option<VecDeque<Ask>>>,
}

/// What somebody wants to be done.
#[derive(Debug)]
pub(super) struct Ask {
    /// The tables that were named.
    pub(super) tables: Vec<usize>,
    pub(super) is_rollback: bool,
    /// Where to say what came of it. It has room for all that is said.
    pub(super) replies: SyncSender<Reply>,
}

impl Asks {
    pub(super) fn new(tables: Vec<String>) -> Self {
        Self(Arc::new(Shared { tables, waiting: Mutex::new(Some(VecDeque::new())) }))
    }

    /// Asks to reload tables, or roll them back; all, if none is named. What comes of it is
    /// said where the result leads to.
    ///
    /// # Errors
    /// If there is no such table, or too much is asked: with an exit code.
    pub(crate) fn ask(&self, names: &[String], is_rollback: bool) -> Result<Receiver<Reply>, (u8, String)> {
        let known = &self.0.tables;
        let place = |name: &String| known.iter().position(|known| known == name);
        if let Some(unknown) = names.iter().find(|name| place(name).is_none()) {
            return Err((failure::USAGE, no_such_table(unknown, known)));
        }
        let tables = names.iter().filter_map(place).collect();
        let (replies, answer) = sync_channel(REPLIES_MAX);
        match &mut *self.lock() {
            None => Err((failure::NO, "the run has come to its end".to_owned())),
            Some(waiting) if waiting.len() == WAITING_MAX => {
                Err((failure::IO, "the run is asked for more than it has time for".to_owned()))
            }
            Some(waiting) => {
                waiting.push_back(Ask { tables, is_rollback, replies });
                Ok(answer)
            }
        }
    }

    /// What is to be done next.
    pub(super) fn take(&self) -> Option<Ask> {
        self.lock().as_mut()?.pop_front()
    }

    /// Nothing is done any more.
    pub(super) fn close(&self) {
        self.lock().take();
    }

    fn lock(&self) -> MutexGuard<'_, Option<VecDeque<Ask>>> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is said of a name that no watched table has.
pub(super) fn no_such_table(unknown: &str, known: &[String]) -> String {
    let near = nearest(unknown, known.iter().map(String::as_str));
    let near = near.map(|near| format!(": did you mean {near}?")).unwrap_or_default();
    format!("no table {unknown} is watched{near} (there are {})", known.join(", "))
}

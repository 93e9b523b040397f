//! What came of changes beside trades, and what is waited for meanwhile.

use indicatif::HumanCount;
use serde::Serialize;
use tradejoin_connectors::{AwaitedChanges, ChangesBy, WATERMARK, time_for_people};

use super::Changes;
use crate::style::WARNING;
use crate::tell::tell;

/// What came of the changes. The field names are its JSON form.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ChangesReport {
    by: &'static str,
    /// Changes that took effect.
    changes: u64,
    /// Lines that were refused.
    refused: u64,
    /// Changes that came when a trade that should have seen them was gone.
    late: u64,
    /// How often trades, or the end, went on without more.
    given_up: u64,
    has_journal: bool,
    /// Whether the same inputs give the same again.
    reproducible: bool,
}

impl ChangesReport {
    pub(crate) fn new(changes: &Changes) -> Self {
        let Changes { by, progress, has_journal, .. } = changes;
        let by_time = *by == ChangesBy::Timestamp;
        Self {
            by: if by_time { "timestamp" } else { "arrival" },
            changes: progress.changes(),
            refused: progress.refused(),
            late: progress.late(),
            given_up: progress.given_up(),
            has_journal: *has_journal,
            reproducible: by_time && progress.given_up() == 0,
        }
    }

    /// For people, on one line.
    pub(crate) fn text(&self) -> String {
        let Self { by, changes, refused, late, given_up, has_journal, reproducible } = self;
        let [changes, refused, late, given_up] =
            [changes, refused, late, given_up].map(|count| HumanCount(*count).to_string());
        let mut text = format!("changes beside the trades, by {by}: {changes}, {refused} lines refused");
        if *by == "timestamp" {
            text += &format!(", {late} late");
        }
        text += &match self.given_up {
            0 => String::new(),
            1 => "; 1 wait in vain".to_owned(),
            _ => format!("; {given_up} waits in vain"),
        };
        text += match (reproducible, has_journal) {
            (true, _) => "",
            (false, true) => "; the same again with the journal alone",
            (false, false) => "; not the same again, as there is no journal",
        };
        text
    }
}

/// What trades wait for, for people; nothing if they do not.
pub(crate) fn awaited(changes: &Changes) -> Option<String> {
    changes.progress.awaited().map(awaited_text)
}

fn awaited_text(awaited: AwaitedChanges) -> String {
    match awaited {
        AwaitedChanges::Beyond(time) => {
            format!("trades wait for table changes beyond {}", time_for_people(time))
        }
        AwaitedChanges::End => "the trades have ended, waiting for the end of the table changes".to_owned(),
    }
}

/// Says what trades wait for where no progress is seen.
pub(super) fn warn(awaited: AwaitedChanges) {
    let text = awaited_text(awaited);
    tell!(
        "{WARNING}warning{WARNING:#}: {text}; a line of type {WATERMARK} lets them go on without one, and so does --changes-wait"
    );
}

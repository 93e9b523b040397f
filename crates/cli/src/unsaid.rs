//! Flags of `run` that commands with its arguments have no use for.

use clap::Arg;

/// Hides what is for runs that write: where to, again, and what happens meanwhile. Such
/// flags are accepted, so that the line of a run can be taken as it is.
pub(crate) fn of_writing(arg: Arg) -> Arg {
    let is_of_writing = matches!(
        arg.get_id().as_str(),
        "output"
            | "dead_letters"
            | "dead_letters_max"
            | "dead_letters_rotate"
            | "dead_letters_keep"
            | "dead_letter_time"
            | "max_bad"
            | "correct"
            | "corrections"
            | "checkpoint"
            | "checkpoint_every"
            | "checkpoint_keep"
            | "watch"
            | "journal"
            | "max_removed"
            | "min_rows"
            | "reload_group"
            | "settle"
            | "keep_generations"
            | "generations"
            | "max_in_flight"
            | "stall_warning"
            | "verbose"
    );
    if is_of_writing { arg.hide(true) } else { arg }
}

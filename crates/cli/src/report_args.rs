//! What a command says while it runs, and at its end.

use clap::Args;

#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "Report")]
pub(crate) struct ReportArgs {
    /// Print the summary as one line of JSON, the last line of standard output (of standard error if
    /// the trades go to standard output)
    #[arg(long)]
    pub(crate) json: bool,

    /// No settings, no progress and no summary
    #[arg(long, short)]
    pub(crate) quiet: bool,

    /// Settings and summary even if the trades go to standard output and standard error is no terminal
    #[arg(long, conflicts_with = "quiet")]
    pub(crate) verbose: bool,
}

//! Outputs of a kept run that are streams: what they were given cannot be taken back.

use std::path::PathBuf;

use tradejoin_connectors::Location;

use crate::args::RunArgs;
use crate::destination::Destination;

/// The names of those outputs that get what is behind the last checkpoint once more from a run
/// that goes on: standard output, pipes, sockets and devices. None without checkpoints.
pub(crate) fn streams(args: &RunArgs, destination: &Destination) -> Vec<String> {
    if args.kept.checkpoint.is_none() {
        return Vec::new();
    }
    let path = |path: Option<PathBuf>| path.map(Location::Path);
    let others = [
        path(args.letters.dead_letters.clone()),
        path(args.correct.path().map(PathBuf::from)),
        path(args.reload.journal.clone()),
    ];
    let all = destination.location().into_iter().chain(others.iter().flatten());
    all.filter(|location| is_stream(location)).map(|location| location.output_name().to_string()).collect()
}

/// Whether an output is no regular file, nor the folder of one in parts.
pub(super) fn is_stream(location: &Location) -> bool {
    match location {
        Location::Standard => true,
        Location::Path(path) => {
            path.metadata().is_ok_and(|metadata| !(metadata.is_file() || metadata.is_dir()))
        }
    }
}

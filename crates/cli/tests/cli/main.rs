//! The command as a user meets it: files in, files out, words and exit codes.
//!
//! - `support`: a folder with files of a test, and the command in it
//! - `run`: what comes out, for any number of workers and every format
//! - `modes`: look-ups by time and by version
//! - `reload`: tables whose files change while trades flow
//! - `changes`: changes of tables beside the trades
//! - `control`: runs that are spoken to
//! - `kill`: runs that are killed anywhere and go on; `kill_jobs`: what they do, `kill_bench`: how they
//!   live and die, `kill_report`: what came of it
//! - `opening`: runs that are spoken to before they have begun
//! - `checkpoints`: how kept runs go on, and what they refuse; `checkpoint_folders`: what can be seen of
//!   their folders and those of parts, and whose they have to be; `damaged_checkpoints`: what is made of
//!   those that are damaged or gone
//! - `full_disks`: file systems that are too small for a run
//! - `golden`: kept runs that earlier versions have left in their middle
//! - `kept_pipes`: kept runs whose inputs come through pipes
//! - `kept_types`: what kept runs take for another job where files have other types or columns
//! - `letter_files`: dead letters in several files
//! - `live`: a run that goes on while a test does things to it
//! - `check`: what a run would come to, by a sample
//! - `diff`: what a reload would do, before it does
//! - `replay`: dead letters, once more
//! - `live_changes`: changes that come through a pipe
//! - `panics`: what they exit with, and what stands then
//! - `refusals`: what bad input gets, and what is left behind
//! - `resources`: too little memory, outputs that nobody reads, inputs that drip
//! - `semantics`: what becomes of every trade and row, line by line
//! - `bad_records`: what becomes of bad records, line by line
//! - `bad_reasons`: what may be wrong with them
//! - `config`: the configuration file
//! - `ends`: outputs without checkpoints at the end of their run
//! - `corrections`: trades that are written again, line by line
//! - `days`: generated ids that mean other contracts on other days
//! - `explain`: why trades found what they found
//! - `tap`: trades to look at
//! - `tables`: tables of any kind, by keys of any kind
//! - `settings`: what a run says of itself at its start
//! - `signals`: Ctrl-C and readers that go away
//! - `silent`: kept runs whose inputs fall silent
//! - `soak`: many reloads in a row, and journals of runs whose timing is drawn
//! - `verify`: outputs beside what they should be
//! - `unheard`: standard error that cannot be written
//! - `words`: streams in words, for `semantics` and `corrections`
//! - `typed_files`: what Parquet and Arrow files of other programs may hold
//! - `tools`: `generate`, `bench`, `completions`, help and version

mod bad_reasons;
mod bad_records;
mod changes;
mod check;
mod checkpoint_folders;
mod checkpoints;
mod config;
mod control;
mod corrections;
mod damaged_checkpoints;
mod days;
mod diff;
mod ends;
mod explain;
mod full_disks;
mod golden;
mod kept_journal;
mod kept_pipes;
mod kept_twice;
mod kept_types;
mod kill;
mod kill_bench;
mod kill_jobs;
mod kill_report;
mod letter_files;
mod limits;
mod live;
mod live_changes;
mod modes;
mod opening;
mod panics;
mod refusals;
mod reload;
mod replay;
mod resources;
mod run;
mod same_files;
mod semantics;
mod settings;
mod signals;
mod silent;
mod soak;
mod support;
mod tables;
mod tap;
mod tools;
mod typed_files;
mod unheard;
mod verify;
mod words;

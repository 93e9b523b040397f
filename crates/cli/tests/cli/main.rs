//! The command as a user meets it: files in, files out, words and exit codes.
//!
//! - `support`: a folder with files of a test, and the command in it
//! - `run`: what comes out, for any number of workers and every format
//! - `modes`: look-ups by time and by version
//! - `refusals`: what bad input gets, and what is left behind
//! - `signals`: Ctrl-C and readers that go away
//! - `tools`: `generate`, `bench`, `completions`, help and version

mod modes;
mod refusals;
mod run;
mod signals;
mod support;
mod tools;

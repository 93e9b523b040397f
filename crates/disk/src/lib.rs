//! The file system as those see it who must not lose what they wrote.
//!
//! On the lowest floor. What a run keeps for a later one goes through a [`Disk`]: its
//! output and its checkpoints. [`RealDisk`] is the system's; a test puts another in its
//! place: a [`FaultyDisk`] that fails or ends the process at an operation of its choice, a
//! [`SimulatedDisk`] that fills up, and that a crash makes forget what was not synced.
//!
//! Guaranteed: a new file never takes the place of one that is there, and no link is
//! followed to a file; what is read is a regular file; a write is whole or an error; nothing
//! is tried again that has failed.
//!
//! Not here: what is written, and when it is to be durable.
//!
//! ```
//! use std::io::Write as _;
//! use tradejoin_disk::{Disk as _, Mode, RealDisk};
//!
//! let folder = tempfile::tempdir()?;
//! let (temporary, name) = (folder.path().join("a.tmp"), folder.path().join("a"));
//! let mut file = RealDisk.create(&temporary, Mode::Private)?;
//! file.write_all(b"whole")?;
//! file.sync()?;
//! RealDisk.rename(&temporary, &name)?;
//! RealDisk.sync_folder(folder.path())?;
//! assert_eq!(RealDisk.read(&name)?, b"whole");
//! # Ok::<(), std::io::Error>(())
//! ```

mod disk;
mod faults;
mod faulty;
mod real;
mod simulated;

pub use disk::{Disk, DiskFile, FileId, Lock, Mode, NotRegular, Replaced};
pub use faults::{Faults, ParseFaultsError};
pub use faulty::FaultyDisk;
pub use real::RealDisk;
pub use simulated::SimulatedDisk;

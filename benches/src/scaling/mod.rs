//! How the engine's rate grows with its workers: a formula, a simulation and
//! measured runs, from the same costs of the same stages.
//!
//! [`Costs`] are what each stage takes for a message on one thread. A formula,
//! [`Bounds::of`], says from them what rate no schedule can exceed with so many
//! workers. A [simulation](simulate) runs the real stages and the real board
//! with so many workers in simulated time. [`measure`] runs the engine.

mod about;
mod clock;
mod costs;
mod exchange;
mod input;
mod law;
mod results;
mod simulation;

pub use about::About;
pub use clock::Meter;
pub use costs::{Costs, stage_costs};
pub use exchange::Exchange;
pub use input::{Blocks, Input, batch_len, measure};
pub use law::{Bounds, Part, Shape};
pub use results::{Measured, Row, Scaling, median, median_of};
pub use simulation::{Simulated, simulate};

//! What the example programs share.

pub mod cli;
pub mod demo_image;
pub mod report;
pub mod ui;
pub mod world;

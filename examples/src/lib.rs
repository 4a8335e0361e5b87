//! What the example programs share.

pub mod agent;
pub mod cli;
pub mod demo_image;
pub mod drive;
pub mod foreign;
pub mod guest_image;
pub mod hosts;
pub mod images;
pub mod load;
pub mod metrics;
pub mod nic;
pub mod options;
pub mod reconcile;
pub mod report;
pub mod table;
pub mod ui;
pub mod volume;
pub mod words;
pub mod world;

/// The code in README.md, compiled and run by the tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;

/// The code in the guide.
#[cfg(doctest)]
#[doc = include_str!("../../docs/guide/library.md")]
pub struct Guide;

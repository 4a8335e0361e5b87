//! What the example programs share.

pub mod cli;
pub mod demo_image;
pub mod guest_image;
pub mod images;
pub mod options;
pub mod reconcile;
pub mod report;
pub mod table;
pub mod ui;
pub mod world;

/// The code in README.md, compiled and run by the tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;

/// The code in the guide.
#[cfg(doctest)]
#[doc = include_str!("../../docs/guide/library.md")]
pub struct Guide;

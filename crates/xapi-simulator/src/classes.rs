//! What the methods do, one file a class, each with a `register(&mut Router)`.

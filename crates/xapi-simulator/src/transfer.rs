//! The import and export handlers.

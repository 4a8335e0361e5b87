//! The contents of VDIs as sparse files.

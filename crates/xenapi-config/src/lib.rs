//! Operators' settings: the options of `nova.conf`'s `[xenserver]` section, and those of `[DEFAULT]` that
//! concern its driver, from up to four sources.
//!
//! ```
//! use xenapi_config::{Origin, Settings};
//!
//! let conf = "[xenserver]\nconnection_url = https://xen1\nindependent_compute = yes\nagent_timout = 5\n";
//! let settings = Settings::new().nova_conf("nova.conf", conf)?.environment([("OS_XENSERVER__CHECK_HOST", "no")]);
//! assert!(settings.flag("independent_compute"));
//! assert_eq!(settings.origin("check_host"), &Origin::Environment("OS_XENSERVER__CHECK_HOST".into()));
//! assert_eq!(settings.findings()[0].to_string(),
//!     "nova.conf, line 4: [xenserver] agent_timout is not an option; agent_timeout is one");
//! # Ok::<(), xenapi_config::SyntaxError>(())
//! ```
//!
//! Sources are given in the order of their weight: `nova.conf`, then TOML, then the environment, then the
//! command line. An option's value is that of the last one that has it. Names that are no options, values
//! that do not fit, and options that contradict each other are [findings](Settings::findings): all of them
//! are told, and the rest can be used; but for `strictness`, which is not guessed ([`Finding::is_error`]).
//!
//! What this crate does not do: read files or the environment; it is given their content. Of `nova.conf` it
//! does not know the options of other drivers and services, and leaves their sections alone.

#[doc(hidden)]
pub mod fuzzing;
mod ini;
mod interpolate;
mod options;
mod settings;

pub use ini::SyntaxError;
pub use options::{Group, Kind, OPTIONS, Opt};
pub use settings::{Finding, Origin, Settings, Value};

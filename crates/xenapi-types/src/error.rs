//! Error codes, and what a failure means for whoever made the call.

use xenapi_wire::{Class, Failure, Ref};

pub use crate::generated::errors::ErrorCode;

/// Declares [`ErrorCode`]: `"what is known of the parameters" Variant "CODE";`.
macro_rules! error_codes {
    ($($params:literal $variant:ident $code:literal;)*) => {
        $crate::open_enum::open_enum! {
            /// A code of the API's errors.
            ///
            /// Open: storage drivers and plugins send codes of their own (`SR_BACKEND_FAILURE_44`), and
            /// every release adds some.
            ErrorCode { $($variant $code,)* }
        }

        impl ErrorCode {
            /// What is known of the code's parameters, in words.
            pub fn parameters(&self) -> Option<&'static str> {
                match self {
                    $(Self::$variant => Some($params),)*
                    Self::Unknown(_) => None,
                }
            }
        }
    };
}

pub(crate) use error_codes;

/// Whether a failed call may be made again, and what must happen before.
///
/// These are the rules that clients in the field have settled on. They are about the error alone: a
/// call that is not idempotent may have done part of its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Retry {
    /// The same call will fail again.
    No,
    /// The call was turned away before it did anything, and nothing needs to happen but time.
    Later,
    /// The session is gone: log in, then make the call once more.
    LogIn,
    /// The coordinator is another host, at this address: go there.
    Coordinator(String),
    /// Events were missed: begin with an empty token.
    Resync,
    /// The host does not know the last parameters of the call: leave optional ones out.
    FewerParameters,
    /// The connection between hosts broke while the call ran: look what has happened first.
    CheckState,
}

/// A storage driver's own error, `SR_BACKEND_FAILURE_<number>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SrBackendFailure<'a> {
    /// The driver's number for the error; 44 is "no space".
    pub number: u32,
    /// What the driver says: the description, and details in brackets.
    pub description: &'a str,
    /// Further details, text or XML; `SR.probe` answers with its findings here.
    pub details: &'a str,
}

mod sealed {
    pub trait Sealed {}

    impl Sealed for xenapi_wire::Failure {}
}

/// What failures mean.
pub trait FailureExt: sealed::Sealed {
    /// The code, typed.
    fn error_code(&self) -> ErrorCode;

    /// An object is gone, or never was.
    fn is_handle_invalid(&self) -> bool;

    /// This very object is gone. After a `destroy` that is a success.
    fn is_gone<C: Class>(&self, object: &Ref<C>) -> bool;

    /// No object has the uuid, or it is malformed.
    fn is_uuid_invalid(&self) -> bool;

    /// The host is no coordinator; the address of the one it obeys.
    fn host_is_slave(&self) -> Option<&str>;

    /// The session has ended: log in again.
    fn is_session_invalid(&self) -> bool;

    /// User name or password are wrong, or the user may not log in.
    fn is_authentication_failed(&self) -> bool;

    /// The role of the session does not allow the call.
    fn is_permission_denied(&self) -> bool;

    /// The server has no such method: it is older, or it has removed it.
    fn is_method_unknown(&self) -> bool;

    /// The storage is full.
    fn is_sr_full(&self) -> bool;

    /// A disk is attached somewhere, or another operation on it is running.
    fn is_vdi_in_use(&self) -> bool;

    /// Another operation is running on the object.
    fn is_busy(&self) -> bool;

    /// The task was cancelled.
    fn is_cancelled(&self) -> bool;

    /// A key is in the map: `remove_from_<field>` first, then `add_to_<field>` again.
    fn is_map_duplicate_key(&self) -> bool;

    /// A VM is not in the state the call needs: the expected states, and the one it is in, both in
    /// lower case.
    fn vm_bad_power_state(&self) -> Option<(&str, &str)>;

    /// A storage driver's own error.
    fn sr_backend(&self) -> Option<SrBackendFailure<'_>>;

    /// Whether the call may be made again.
    fn retry(&self) -> Retry;
}

const SR_BACKEND_NO_SPACE: u32 = 44;

impl FailureExt for Failure {
    fn error_code(&self) -> ErrorCode {
        self.code.as_str().into()
    }

    fn is_handle_invalid(&self) -> bool {
        self.code == "HANDLE_INVALID"
    }

    fn is_gone<C: Class>(&self, object: &Ref<C>) -> bool {
        self.is_handle_invalid() && self.param(1) == object.to_string()
    }

    fn is_uuid_invalid(&self) -> bool {
        self.code == "UUID_INVALID"
    }

    fn host_is_slave(&self) -> Option<&str> {
        (self.code == "HOST_IS_SLAVE").then(|| self.param(0).trim())
    }

    fn is_session_invalid(&self) -> bool {
        self.code == "SESSION_INVALID"
    }

    fn is_authentication_failed(&self) -> bool {
        matches!(self.code.as_str(), "SESSION_AUTHENTICATION_FAILED" | "SESSION_AUTHORIZATION_FAILED")
    }

    fn is_permission_denied(&self) -> bool {
        matches!(self.code.as_str(), "RBAC_PERMISSION_DENIED" | "PERMISSION_DENIED")
    }

    fn is_method_unknown(&self) -> bool {
        matches!(self.code.as_str(), "MESSAGE_METHOD_UNKNOWN" | "MESSAGE_REMOVED" | "MESSAGE_DEPRECATED")
    }

    fn is_sr_full(&self) -> bool {
        let full =
            ["SR_FULL", "SR_SOURCE_SPACE_INSUFFICIENT", "OUT_OF_SPACE", "PROVISION_FAILED_OUT_OF_SPACE"];
        full.contains(&self.code.as_str())
            || self.sr_backend().is_some_and(|error| error.number == SR_BACKEND_NO_SPACE)
    }

    fn is_vdi_in_use(&self) -> bool {
        self.code == "VDI_IN_USE"
    }

    fn is_busy(&self) -> bool {
        self.code == "OTHER_OPERATION_IN_PROGRESS"
    }

    fn is_cancelled(&self) -> bool {
        self.code == "TASK_CANCELLED"
    }

    fn is_map_duplicate_key(&self) -> bool {
        self.code == "MAP_DUPLICATE_KEY"
    }

    fn vm_bad_power_state(&self) -> Option<(&str, &str)> {
        (self.code == "VM_BAD_POWER_STATE").then(|| (self.param(1), self.param(2)))
    }

    fn sr_backend(&self) -> Option<SrBackendFailure<'_>> {
        let number = self.code.strip_prefix("SR_BACKEND_FAILURE_")?.parse().ok()?;
        Some(SrBackendFailure { number, description: self.param(1), details: self.param(2) })
    }

    fn retry(&self) -> Retry {
        match self.code.as_str() {
            "SESSION_INVALID" => Retry::LogIn,
            "HOST_IS_SLAVE" => Retry::Coordinator(self.param(0).trim().to_owned()),
            "TOO_MANY_PENDING_TASKS"
            | "TOO_BUSY"
            | "HOST_STILL_BOOTING"
            | "TOO_MANY_STORAGE_MIGRATES"
            | "OTHER_OPERATION_IN_PROGRESS"
            | "DEVICE_DETACH_REJECTED" => Retry::Later,
            "EVENTS_LOST" | "EVENT_FROM_TOKEN_PARSE_FAILURE" => Retry::Resync,
            "MESSAGE_PARAMETER_COUNT_MISMATCH" => Retry::FewerParameters,
            "CANNOT_CONTACT_HOST" => Retry::CheckState,
            _ => Retry::No,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Vdi;

    fn failure(list: &[&str]) -> Failure {
        list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>().into()
    }

    #[test]
    fn codes_are_open() {
        assert_eq!(failure(&["HANDLE_INVALID", "VM", "OpaqueRef:x"]).error_code(), ErrorCode::HandleInvalid);
        let own = failure(&["SR_BACKEND_FAILURE_226"]).error_code();
        assert_eq!(own, ErrorCode::Unknown("SR_BACKEND_FAILURE_226".into()));
        assert_eq!(ErrorCode::VmBadPowerState.parameters(), Some("Parameters: `vm`, `expected`, `actual`."));
    }

    #[test]
    fn a_full_sr_has_several_codes() {
        let driver = failure(&["SR_BACKEND_FAILURE_44", "", "There is insufficient space", ""]);
        assert!(driver.is_sr_full());
        assert_eq!(driver.sr_backend().unwrap().description, "There is insufficient space");
        assert!(failure(&["SR_FULL", "2", "1"]).is_sr_full());
        assert!(!failure(&["SR_BACKEND_FAILURE_440"]).is_sr_full());
        assert!(!failure(&["SR_BACKEND_FAILURE", "1", "", ""]).is_sr_full());
    }

    #[test]
    fn gone_is_about_one_object() {
        let vdi = Ref::<Vdi>::from("OpaqueRef:1");
        assert!(failure(&["HANDLE_INVALID", "VDI", "OpaqueRef:1"]).is_gone(&vdi));
        assert!(!failure(&["HANDLE_INVALID", "SR", "OpaqueRef:2"]).is_gone(&vdi));
    }

    #[test]
    fn retries() {
        // Servers have been seen to send line ends after parameters.
        let slave = failure(&["HOST_IS_SLAVE", "10.0.0.1\n"]);
        assert_eq!(slave.host_is_slave(), Some("10.0.0.1"));
        assert_eq!(slave.retry(), Retry::Coordinator("10.0.0.1".into()));
        assert_eq!(failure(&["VDI_IO_ERROR", "Device I/O errors"]).retry(), Retry::No);
        assert_eq!(failure(&[]).retry(), Retry::No);
    }
}

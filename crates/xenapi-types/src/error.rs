//! Error codes.

/// Declares [`ErrorCode`]: `"what is known of the parameters" Variant "CODE";`.
macro_rules! error_codes {
    ($($params:literal $variant:ident $code:literal;)*) => {
        $crate::open_enum::open_enum! {
            /// A code of the API's errors.
            ///
            /// Open: storage drivers and plugins send codes of their own, and every release adds some.
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

pub use crate::generated::errors::ErrorCode;

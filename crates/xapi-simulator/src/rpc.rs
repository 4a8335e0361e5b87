//! RPC bodies: what is asked, and how the answer is spelled.

pub(crate) mod jsonrpc;
pub(crate) mod xmlrpc;

use xenapi_wire::{Failure, Value};

/// A call as it came, whatever the encoding.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) params: Vec<Value>,
}

/// What a call ended with.
pub(crate) type Outcome = Result<Answer, Failure>;

/// A result with what its encoding needs to know.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    /// The usual kind.
    Value(Value),
    /// `system.listMethods`: XML-RPC sends it without `Status`.
    Bare(Value),
    /// The batch of `event.from`, whose counts are XAPI's only tagged integers.
    Batch(Value),
}

/// A body that is no call; the text is what XAPI's page would say about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) String);

/// A float with so many significant digits, as C's `%.*g` spells it.
pub(crate) fn significant(x: f64, digits: usize) -> String {
    if x.is_nan() {
        return "nan".into();
    }
    if x.is_infinite() {
        return if x > 0.0 { "inf".into() } else { "-inf".into() };
    }
    if x == 0.0 {
        return if x.is_sign_negative() { "-0".into() } else { "0".into() };
    }
    let scientific = format!("{x:.*e}", digits - 1);
    let (mantissa, exponent) = scientific.split_once('e').expect("the e format has an exponent");
    let exponent: i32 = exponent.parse().expect("the exponent is a number");
    let trim = |text: &str| {
        if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            text.to_owned()
        }
    };
    if exponent < -4 || exponent >= digits as i32 {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", trim(mantissa), exponent.abs());
    }
    let decimals = usize::try_from(digits as i32 - 1 - exponent).unwrap_or(0);
    trim(&format!("{x:.decimals$}"))
}

#[cfg(test)]
mod tests {
    use super::significant;

    #[test]
    fn floats_are_spelled_as_c_does() {
        for (x, digits, text) in [
            (1.0, 16, "1"),
            (0.1, 16, "0.1"),
            (0.1, 17, "0.10000000000000001"),
            (123_456_789.123_456_79, 16, "123456789.1234568"),
            (123_456_789.123_456_79, 17, "123456789.12345679"),
            (1e300, 16, "1e+300"),
            (1.5e-7, 16, "1.5e-07"),
            (0.0001, 16, "0.0001"),
            (f64::NEG_INFINITY, 16, "-inf"),
        ] {
            assert_eq!(significant(x, digits), text);
        }
    }
}

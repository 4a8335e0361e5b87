//! Numbers as XAPI writes and reads them.

/// Formats like C's `%.{digits}g`.
pub(crate) fn write_g(out: &mut String, number: f64, digits: usize) {
    use std::fmt::Write;

    if number == 0.0 {
        out.push_str(if number.is_sign_negative() { "-0" } else { "0" });
        return;
    }
    let scientific = format!("{number:.*e}", digits - 1);
    let Some((mantissa, exponent)) = scientific.split_once('e') else {
        out.push_str(&scientific);
        return;
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if exponent < -4 || exponent >= digits as i32 {
        out.push_str(without_zeros(mantissa));
        let sign = if exponent < 0 { '-' } else { '+' };
        // Writing to a String cannot fail.
        let _ = write!(out, "e{sign}{:02}", exponent.unsigned_abs());
    } else {
        let decimals = (digits as i32 - 1 - exponent) as usize;
        out.push_str(without_zeros(&format!("{number:.decimals$}")));
    }
}

fn without_zeros(number: &str) -> &str {
    if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number }
}

/// The fewest of 16 or 17 digits that read back as the same number.
pub(crate) fn write_exact(out: &mut String, number: f64) {
    let start = out.len();
    write_g(out, number, 16);
    if out[start..].parse() != Ok(number) {
        out.truncate(start);
        write_g(out, number, 17);
    }
}

/// An integer in OCaml's syntax, which is what XAPI accepts: `-5`, `+5`, `007`, `1_000`, `0x1F`,
/// `0b11`, `0o17`. As in OCaml, digits with a base may use all 64 bits.
pub(crate) fn parse_int(text: &str) -> Option<i64> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let (negative, rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (base, digits) = match rest.get(..2) {
        Some("0x" | "0X") => (16, &rest[2..]),
        Some("0o" | "0O") => (8, &rest[2..]),
        Some("0b" | "0B") => (2, &rest[2..]),
        _ => (10, rest),
    };
    if !digits.starts_with(|c: char| c.is_digit(base)) {
        return None;
    }
    let digits: String = digits.chars().filter(|&c| c != '_').collect();
    if base == 10 {
        let sign = if negative { "-" } else { "" };
        return format!("{sign}{digits}").parse().ok();
    }
    let bits = u64::from_str_radix(&digits, base).ok()?.cast_signed();
    Some(if negative { bits.wrapping_neg() } else { bits })
}

/// A float as C and OCaml print them: `1.`, `.5`, `inf`, `nan`, `1e+300`; also `Infinity`.
pub(crate) fn parse_float(text: &str) -> Option<f64> {
    text.parse().ok()
}

/// The integer that a float without fraction stands for, if it fits.
pub(crate) fn int_of_float(number: f64) -> Option<i64> {
    // 2^63 is the first float beyond i64; -2^63 is in.
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    (number.fract() == 0.0 && (-BEYOND..BEYOND).contains(&number)).then_some(number as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_as_the_recordings_have_them() {
        for (number, xml, json) in [
            (0.1, "0.1", "0.1"),
            (1.0, "1", "1"),
            (-1.0, "-1", "-1"),
            (0.0, "0", "0"),
            (-0.0, "-0", "-0"),
            (1e16, "1e+16", "1e+16"),
            (1e15, "1000000000000000", "1000000000000000"),
            (1e300, "1e+300", "1e+300"),
            (1e-10, "1e-10", "1e-10"),
            (1e-4, "0.0001", "0.0001"),
            (1e-5, "1e-05", "1e-05"),
            (123_456_789.123_456_79, "123456789.1234568", "123456789.12345679"),
            (1.0 / 3.0, "0.3333333333333333", "0.3333333333333333"),
            (1e23, "9.999999999999999e+22", "9.999999999999999e+22"),
            (f64::MIN_POSITIVE, "2.225073858507201e-308", "2.2250738585072014e-308"),
        ] {
            let (mut g16, mut exact) = (String::new(), String::new());
            write_g(&mut g16, number, 16);
            write_exact(&mut exact, number);
            assert_eq!((g16.as_str(), exact.as_str()), (xml, json));
        }
    }

    #[test]
    fn integers_as_ocaml_reads_them() {
        for (text, number) in [
            ("0", Some(0)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775807", Some(i64::MAX)),
            ("9223372036854775808", None),
            ("+5", Some(5)),
            ("007", Some(7)),
            ("1_000", Some(1000)),
            ("-1_0", Some(-10)),
            ("0b11", Some(3)),
            ("0x10", Some(16)),
            ("-0x10", Some(-16)),
            ("0xffffffffffffffff", Some(-1)),
            ("0o17", Some(15)),
            ("_1", None),
            (" 5", None),
            ("5 ", None),
            ("1e3", None),
            ("", None),
            ("-", None),
            ("0x", None),
            ("+-5", None),
            ("-+5", None),
            ("é", None),
        ] {
            assert_eq!(parse_int(text), number, "{text:?}");
        }
    }

    #[test]
    fn floats_that_are_integers() {
        for (number, int) in [
            (2.0, Some(2)),
            (-0.0, Some(0)),
            (0.5, None),
            (9_223_372_036_854_775_808.0, None),
            (-9_223_372_036_854_775_808.0, Some(i64::MIN)),
            (f64::NAN, None),
            (f64::INFINITY, None),
        ] {
            assert_eq!(int_of_float(number), int, "{number}");
        }
    }
}

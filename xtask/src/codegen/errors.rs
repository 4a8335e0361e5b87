//! Error codes.

use super::rust::HEADER;
use crate::facts::Facts;
use crate::names::camel;

/// `generated/errors.rs`.
pub(super) fn file(facts: &Facts) -> String {
    let mut out = format!("//! Every code of the API's errors.\n{HEADER}");
    out += "use crate::error::error_codes;\n\nerror_codes! {\n";
    for (code, params) in &facts.errors {
        let params = match params {
            None => "Its parameters are not documented.".to_owned(),
            Some(list) if list.is_empty() => "No parameters.".to_owned(),
            Some(list) => {
                let names: Vec<String> = list.iter().map(|p| format!("`{p}`")).collect();
                format!("Parameters: {}.", names.join(", "))
            }
        };
        out += &format!("    {params:?} {} {code:?};\n", camel(code));
    }
    out + "}\n"
}

//! Storage manager drivers: which SR types the pool has.

use xenapi_wire::{Failure, Value};

use crate::db::Db;
use crate::sr_types::SrType;

/// Gives a pool that has no drivers all those the simulator knows.
pub(crate) fn install(db: &Db) {
    let installed = db.write(|tx| {
        if tx.count("SM") > 0 {
            return Ok::<_, Failure>(());
        }
        for kind in SrType::all() {
            let features = kind.features().map(|(name, version)| (name.to_owned(), Value::Int(version)));
            let capabilities: Vec<&str> = kind.features().map(|(name, _)| name).collect();
            let configuration =
                kind.required_config.iter().map(|(key, _)| ((*key).to_owned(), Value::from("(required)")));
            let fields = [
                ("name_label", kind.label.into()),
                ("name_description", kind.description.into()),
                ("type", kind.name.into()),
                ("version", "1.0".into()),
                ("required_api_version", "1.0".into()),
                ("capabilities", capabilities.into()),
                ("features", Value::Struct(features.collect())),
                ("configuration", Value::Struct(configuration.collect())),
                ("driver_filename", format!("/opt/xensource/sm/{}", kind.driver).into()),
            ];
            tx.create("SM", fields);
        }
        Ok(())
    });
    installed.unwrap_or_else(|never| unreachable!("{never}"));
}

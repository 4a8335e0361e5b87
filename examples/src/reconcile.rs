//! What programs left that were killed, put in order and told.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use xenapi_driver::reconcile::ReconcileOptions;

use crate::table::Table;
use crate::ui::Ui;
use crate::world::World;

/// Completes or undoes it, if it is older than this; or only tells what it would do. What could not be put in
/// order makes it a failure.
///
/// # Errors
///
/// When the pool cannot be looked at.
pub async fn run(world: &World, older_than: Duration, dry_run: bool, ui: &Ui) -> Result<Table> {
    let options = ReconcileOptions { older_than, dry_run, progress: ui.progress() };
    let verb = if dry_run { "would" } else { "done" };
    let result = ui.until_interrupted(world.driver().reconcile(options)).await?;
    let mut table = Table::default();
    let mut add = |what: String, how: &str| table.row([("what", json!(what)), ("how", json!(how))]);
    result.done.iter().for_each(|finding| add(finding.to_string(), verb));
    result.too_young.iter().for_each(|finding| add(finding.to_string(), "too young"));
    result.leftovers.iter().for_each(|left| add(left.to_string(), "failed"));
    result.unclear.iter().for_each(|finding| add(finding.to_string(), "unclear"));
    for vm in &result.waiting {
        let what = match result.arrived.contains(vm) {
            true => format!("confirm or revert the move of VM {vm}, from the pool that it came from"),
            false => format!("confirm or revert the change of VM {vm}"),
        };
        add(what, "waits");
    }
    Ok(table.failed_if(!result.leftovers.is_empty()))
}

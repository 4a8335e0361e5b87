//! Whether a guest that is to be brought down can come up again, looked at before it is.

use xenapi_types::{Host, Ref, Sr, VmRecord};

use crate::blocked;
use crate::error::Cause;
use crate::inventory::{self, Node};
use crate::job::Job;
use crate::kernel;
use crate::plan::Conflicts;
use crate::resize;

/// Sees that the host where a guest is at home takes guests, or, as XAPI then starts it wherever it can, that
/// another one does which reaches all these repositories. Of a guest without a home, or with one that the
/// pool does not know, nothing is said. Nor may anybody have blocked that it is brought down or started.
///
/// # Errors
///
/// [`Conflict::NodeDisabled`](crate::plan::Conflict::NodeDisabled),
/// [`Conflict::NodeNotLive`](crate::plan::Conflict::NodeNotLive), and as [`blocked::restart`].
pub(crate) async fn check(job: &Job, vm: &VmRecord, home: &Ref<Host>, srs: &[Ref<Sr>]) -> Result<(), Cause> {
    blocked::restart(vm)?;
    let nodes = inventory::read_nodes(&job.driver).await?;
    let home = nodes.iter().find(|node| node.reference == *home);
    let Some(refusal) = home.and_then(Node::refusal) else { return Ok(()) };
    let (repositories, _) = resize::repositories(job).await?;
    let reaches = |host: &Ref<Host>| {
        let of = |sr: &Ref<Sr>| repositories.iter().find(|known| known.reference == *sr);
        srs.iter().all(|sr| of(sr).is_some_and(|sr| sr.is_attached_to(host)))
    };
    let moves = !vm.other_config.contains_key(kernel::KEY);
    match moves && nodes.iter().any(|node| node.is_usable() && reaches(&node.reference)) {
        true => Ok(()),
        false => Err(Conflicts::from(refusal).into()),
    }
}

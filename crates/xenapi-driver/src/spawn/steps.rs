//! What a spawn would do, told instead of done.

use crate::plan::{DiskPlan, NicPlan, Plan};
use crate::spec::{InstanceSpec, Power};
use crate::transfer::Source;

/// The plan in words, in the order in which it is carried out.
pub(super) fn of(spec: &InstanceSpec, plan: &Plan, source: &Source, compared: bool) -> Vec<String> {
    let (name, sr) = (&plan.vm.name_label, &plan.sr.name_label);
    let disk = |disk: &DiskPlan, how: &str| {
        let (name, bytes, device) = (&disk.name_label, disk.virtual_bytes, &disk.userdevice);
        format!("make disk {name:?} of {bytes} bytes in storage repository {sr:?} for device {device}{how}")
    };
    let (vcpus, mib) = (plan.vm.vcpus, plan.vm.memory_bytes >> 20);
    let mut steps = vec![format!("make VM {name:?} with {vcpus} processors and {mib} MiB")];
    steps.push(match source {
        Source::Volume(volume) => format!("attach {} as the root disk", volume.disk),
        Source::Cached(image, _) => disk(&plan.root, &format!(", of cached image {:?}", image.image_id)),
        Source::Disk(..) | Source::Arriving(_) => disk(&plan.root, ", and write the image to it"),
    });
    if compared {
        steps.push("read the root disk back and compare it with the image".to_owned());
    }
    if plan.vm.own_kernel {
        steps.push(format!("have host {:?} keep its kernel", plan.node.name));
    }
    steps.extend(plan.config_drive.iter().map(|drive| disk(drive, ", and write the config drive to it")));
    steps.extend(plan.blank.iter().map(|blank| disk(blank, ", empty")));
    steps.extend(plan.nics.iter().map(|NicPlan { device, mac, network, .. }| {
        format!("attach interface {device}, {mac}, on network {:?}", network.name)
    }));
    steps.extend(plan.gpus.iter().map(|gpu| format!("attach a virtual GPU of type {:?}", gpu.model)));
    steps.extend(spec.volumes.iter().map(|mount| format!("attach volume {}", mount.volume.disk)));
    match plan.power {
        Power::Off => {}
        Power::Paused => steps.push(format!("start it on host {:?}, paused", plan.node.name)),
        _ => steps.push(format!("start it on host {:?}", plan.node.name)),
    }
    steps.extend(spec.agent.iter().map(|agent| agent.would(plan, spec.os_type)));
    steps
}

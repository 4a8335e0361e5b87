//! The simulated pool, without a network before it.

use std::sync::Arc;

use xapi_simulator::{Simulator, World};
use xenapi_client::{Client, Config, private_connect_fn};
use xenapi_types::{OnCrashBehaviour, OnNormalExit, vm};

pub(crate) async fn demo() -> Arc<Simulator> {
    Arc::new(Simulator::builder().world(World::demo()).password("pw").build().await.unwrap())
}

/// A client whose connections end in the simulator.
pub(crate) fn client(simulator: &Arc<Simulator>, change: impl FnOnce(Config) -> Config) -> Client {
    let config = Config::new("http://simulator", "root", "pw").unwrap().timeouts(super::timeouts());
    let simulator = Arc::clone(simulator);
    let connector = private_connect_fn(move |_| {
        let connection = simulator.connect();
        async move { Ok(connection) }
    });
    Client::over(change(config), connector).unwrap()
}

/// A small VM without disks.
pub(crate) fn new_vm(name: &str) -> vm::Create {
    vm::Create {
        name_label: name.to_owned(),
        memory_static_max: 256 << 20,
        memory_dynamic_max: 256 << 20,
        memory_dynamic_min: 256 << 20,
        memory_static_min: 64 << 20,
        vcpus_max: 1,
        vcpus_at_startup: 1,
        actions_after_shutdown: OnNormalExit::Destroy,
        actions_after_reboot: OnNormalExit::Restart,
        actions_after_crash: OnCrashBehaviour::Restart,
        hvm_boot_policy: "BIOS order".to_owned(),
        ..vm::Create::default()
    }
}

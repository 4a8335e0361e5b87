//! Where a check works: a client, and objects of its own.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use serde::Serialize;
use serde::de::DeserializeOwned;
use xenapi_client::{Client, ErrorKind};
use xenapi_types::{
    Network, OnCrashBehaviour, OnNormalExit, Task, Vbd, VbdMode, VbdType, Vdi, VdiType, Vif, Vm, task, vbd,
    vdi, vif, vm,
};
use xenapi_wire::{Class, Ref, Value};

use super::clean::Made;
use super::expect::not_applicable;
use super::site::Site;
use super::target::Target;

/// The key in `other_config` of everything that checks make; its value names the run.
pub(super) const TAG: &str = "xenapi-conformance";

/// A mebibyte.
pub(super) const MIB: i64 = 1 << 20;

/// What a check has at hand.
///
/// Everything that is made through it is taken away after the check, in reverse order.
pub struct Lab {
    /// A logged-in client.
    pub client: Client,
    /// What the endpoint has.
    pub site: Arc<Site>,
    pub(super) target: Arc<Target>,
    pub(super) run: Arc<str>,
    prefix: String,
    serial: AtomicUsize,
    made: Mutex<Vec<Made>>,
}

impl Lab {
    pub(super) fn new(
        client: Client,
        target: Arc<Target>,
        site: Arc<Site>,
        run: Arc<str>,
        number: usize,
    ) -> Self {
        let prefix = format!("{TAG} {run} {number}");
        Self { client, site, target, run, prefix, serial: AtomicUsize::new(0), made: Mutex::default() }
    }

    /// A name that nothing else has.
    pub fn name(&self) -> String {
        format!("{}.{}", self.prefix, self.serial.fetch_add(1, Ordering::Relaxed))
    }

    /// The `other_config` of what the checks make.
    pub fn tag(&self) -> BTreeMap<String, String> {
        BTreeMap::from([(TAG.to_owned(), self.run.to_string())])
    }

    /// Takes an object away after the check.
    pub(super) fn keep(&self, made: Made) {
        self.made().push(made);
    }

    pub(super) fn made(&self) -> MutexGuard<'_, Vec<Made>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls a method by its name.
    pub async fn rpc<P: Serialize + Sync, T: DeserializeOwned>(
        &self,
        method: &str,
        params: P,
    ) -> xenapi_client::Result<T> {
        self.client.invoke(method, &params).await
    }

    /// A client with a session of its own, which ends with the check.
    pub async fn other_client(&self, originator: &str) -> Result<Client> {
        let client = self.target.client(originator)?;
        self.keep(Made::Session(client.clone()));
        client.login().await?;
        Ok(client)
    }

    /// The fields of a small HVM guest that is not started.
    pub fn vm_fields(&self) -> vm::Create {
        let map =
            |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        vm::Create {
            name_label: self.name(),
            memory_target: 256 * MIB,
            memory_static_max: 256 * MIB,
            memory_dynamic_max: 256 * MIB,
            memory_dynamic_min: 256 * MIB,
            memory_static_min: 0,
            vcpus_max: 1,
            vcpus_at_startup: 1,
            actions_after_shutdown: OnNormalExit::Destroy,
            actions_after_reboot: OnNormalExit::Restart,
            actions_after_crash: OnCrashBehaviour::Destroy,
            hvm_boot_policy: "BIOS order".to_owned(),
            hvm_boot_params: map(&[("order", "dc")]),
            platform: map(&[("acpi", "true"), ("apic", "true"), ("pae", "true"), ("nx", "true")]),
            other_config: self.tag(),
            ..vm::Create::default()
        }
    }

    /// A halted guest.
    pub async fn vm(&self) -> Result<Ref<Vm>> {
        self.vm_of(self.vm_fields()).await
    }

    /// A guest with these fields, which should come from [`Lab::vm_fields`].
    pub async fn vm_of(&self, fields: vm::Create) -> Result<Ref<Vm>> {
        let vm = self.client.call(fields).await?;
        self.keep(Made::Vm(vm.clone()));
        Ok(vm)
    }

    /// A running guest without disks.
    ///
    /// # Errors
    /// Not applicable when the hosts cannot run it: no hardware virtualisation, no memory.
    pub async fn running_vm(&self) -> Result<Ref<Vm>> {
        let vm = self.vm().await?;
        self.start(&vm).await?;
        Ok(vm)
    }

    /// Starts a guest.
    ///
    /// # Errors
    /// Not applicable when the hosts cannot run it.
    pub async fn start(&self, vm: &Ref<Vm>) -> Result<()> {
        let start = vm::Start { vm: vm.clone(), start_paused: false, force: false };
        match self.client.call(start).await {
            Err(error)
                if ["VM_HVM_REQUIRED", "NO_HOSTS_AVAILABLE", "HOST_NOT_ENOUGH_FREE_MEMORY"]
                    .iter()
                    // Without a hypervisor, or without its programs.
                    .chain(&["INTERNAL_ERROR", "VM_MEMORY_SIZE_TOO_LOW"])
                    .any(|code| error.is(code)) =>
            {
                Err(not_applicable(format!("guests cannot run here: {error}")))
            }
            result => Ok(result?),
        }
    }

    /// The fields of a disk.
    ///
    /// # Errors
    /// Not applicable when the endpoint has no storage for it.
    pub fn disk_fields(&self, virtual_size: i64) -> Result<vdi::Create> {
        Ok(vdi::Create {
            name_label: self.name(),
            sr: self.site.sr()?.clone(),
            virtual_size,
            r#type: VdiType::User,
            other_config: self.tag(),
            ..vdi::Create::default()
        })
    }

    /// A disk of this many bytes, or somewhat more if the storage rounds up.
    pub async fn disk(&self, virtual_size: i64) -> Result<Ref<Vdi>> {
        self.disk_of(self.disk_fields(virtual_size)?).await
    }

    /// A disk with these fields, which should come from [`Lab::disk_fields`].
    pub async fn disk_of(&self, fields: vdi::Create) -> Result<Ref<Vdi>> {
        let vdi = self.client.call(fields).await?;
        self.keep(Made::Vdi(vdi.clone()));
        Ok(vdi)
    }

    /// The fields that attach a disk to a guest.
    pub fn vbd_fields(&self, vm: &Ref<Vm>, vdi: &Ref<Vdi>, userdevice: &str) -> vbd::Create {
        vbd::Create {
            vm: vm.clone(),
            vdi: vdi.clone(),
            userdevice: userdevice.to_owned(),
            mode: VbdMode::Rw,
            r#type: VbdType::Disk,
            other_config: self.tag(),
            ..vbd::Create::default()
        }
    }

    /// Attaches a disk to a guest.
    pub async fn vbd(&self, vm: &Ref<Vm>, vdi: &Ref<Vdi>, userdevice: &str) -> Result<Ref<Vbd>> {
        let vbd = self.client.call(self.vbd_fields(vm, vdi, userdevice)).await?;
        self.keep(Made::Vbd(vbd.clone()));
        Ok(vbd)
    }

    /// The fields of a network without physical interfaces.
    pub fn network_fields(&self) -> xenapi_types::network::Create {
        xenapi_types::network::Create {
            name_label: self.name(),
            other_config: self.tag(),
            ..xenapi_types::network::Create::default()
        }
    }

    /// A network without physical interfaces.
    pub async fn network(&self) -> Result<Ref<Network>> {
        let network = self.client.call(self.network_fields()).await?;
        self.keep(Made::Network(network.clone()));
        Ok(network)
    }

    /// The fields of an interface of a guest.
    pub fn vif_fields(&self, vm: &Ref<Vm>, network: &Ref<Network>, device: &str) -> vif::Create {
        vif::Create {
            vm: vm.clone(),
            network: network.clone(),
            device: device.to_owned(),
            mtu: 1500,
            other_config: self.tag(),
            ..vif::Create::default()
        }
    }

    /// An interface of a guest, with a MAC address of XAPI's choice.
    pub async fn vif(&self, vm: &Ref<Vm>, network: &Ref<Network>, device: &str) -> Result<Ref<Vif>> {
        let vif = self.client.call(self.vif_fields(vm, network, device)).await?;
        self.keep(Made::Vif(vif.clone()));
        Ok(vif)
    }

    /// A pending task.
    ///
    /// # Errors
    /// Not applicable when it could not be ended.
    pub async fn task(&self) -> Result<Ref<Task>> {
        self.site.needs_tasks()?;
        let create = task::Create { label: self.name(), description: String::new() };
        let task = self.client.call(create).await?;
        self.keep(Made::Task(task.clone()));
        Ok(task)
    }

    /// Starts a method as a task, by its name.
    pub async fn spawn<P: Serialize + Sync>(&self, method: &str, params: P) -> Result<Ref<Task>> {
        let task: Ref<Task> = self.rpc(&format!("Async.{method}"), params).await?;
        self.keep(Made::Task(task.clone()));
        Ok(task)
    }

    /// The record of an object as a plain value.
    pub async fn raw_record<C: Class>(&self, object: &Ref<C>) -> xenapi_client::Result<Value> {
        self.rpc(&format!("{}.get_record", C::NAME), (object,)).await
    }
}

/// Whether an object is gone by now: the one that the call was about.
pub(super) fn is_gone(error: &xenapi_client::Error) -> bool {
    error.kind() == ErrorKind::NotFound || error.is("HANDLE_INVALID")
}

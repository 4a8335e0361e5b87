//! Whole VMs, as XVA archives.

use std::collections::BTreeSet;
use std::future::{Future, IntoFuture};
use std::pin::Pin;

use bytes::Bytes;
use http_body::Body;
use xenapi_types::archive::Decoder;
use xenapi_types::handler::{self, Compression};
use xenapi_types::{Host, Pool, Sr, Vm, pool, vbd, vdi, vm};
use xenapi_wire::{Limits, Ref, xmlrpc};

use super::accept::negotiate;
use super::body::{Fault, Length};
use super::checked::Checked;
use super::export::{Content, Subject};
use super::import::{Progress, Queued, Upload, pour};
use super::request::{ExportRequest, Options};
use super::{Export, Meter, Route};
use crate::client::Client;
use crate::error::{BoxError, Error, ErrorKind, Result};
use crate::event::name;

/// How a VM is exported.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VmExport {
    /// Compressed by the host, which costs it time: then only the host's word says that it is complete.
    pub compression: Option<Compression>,
    /// A suspended VM stays one, with its memory; otherwise it becomes a halted one.
    pub preserve_power_state: bool,
}

/// A VM about to be imported: `.await` does it, and gives the VMs that were made.
///
/// Dropping the future closes the connection, which makes the host give up and remove what it has made.
#[must_use = "nothing is sent before this is awaited"]
pub struct VmImport<B> {
    client: Client,
    body: B,
    sr: Option<Ref<Sr>>,
    route: Option<Route>,
    restore: bool,
    force: bool,
    label: String,
    progress: Option<Progress>,
    queued: Option<Queued>,
}

impl Client {
    /// Begins to read a VM with its disks, without its snapshots, as an XVA archive. It must be halted or
    /// suspended; a template or a snapshot will do, too.
    ///
    /// Goes through a host that sees all its disks. The archive is checked as it comes, piece by piece, unless it is
    /// compressed. The end is only reported when the host has confirmed it.
    ///
    /// # Errors
    /// `NotFound` when there is no such VM; `Failure` with XAPI's code: `VM_BAD_POWER_STATE`, or
    /// `NO_HOSTS_AVAILABLE` when no host sees all its disks. Else as [`Client::export_vdi`].
    pub fn export_vm(&self, vm: &Ref<Vm>, options: VmExport) -> ExportRequest {
        let (vm, subject) = (vm.clone(), format!("export of {}", name(vm)));
        ExportRequest::new(self, move |client, request| async move {
            let exported = client.begin_export_vm(&vm, options, request).await;
            exported.map_err(|error| error.renamed(subject))
        })
    }

    async fn begin_export_vm(&self, vm: &Ref<Vm>, options: VmExport, request: Options) -> Result<Export> {
        let endpoint = match request.route {
            Some(route) => route.endpoint,
            None => self.one_of(self.hosts_of_disks(vm).await?).await?,
        };
        let content = match options.compression {
            None => Content::archive(Decoder::of_guest()),
            Some(_) => Content::Unknown,
        };
        let handler = handler::Export {
            vm: Some(vm.clone()),
            use_compression: options.compression,
            preserve_power_state: options.preserve_power_state,
            ..handler::Export::default()
        };
        let queued = request.queued;
        let what = Subject { label: "export of a VM", object: name(vm), content, queued };
        self.download(handler, endpoint, what).await
    }

    /// Makes VMs from an XVA archive, with disks in the pool's default SR unless another one is named. The body must
    /// know its exact length ([`Body::size_hint`]): XAPI accepts nothing else.
    ///
    /// The beginning is looked at before anything is sent; the rest is checked on the way, unless it is compressed, and
    /// the import ends at the first wrong byte. A host removes what it has made of a failed one.
    ///
    /// # Errors
    /// `Body` when it is no archive, or damaged; `Failure` with XAPI's code, such as
    /// `VM_TO_IMPORT_IS_NOT_NEWER_VERSION`; else as [`Client::import_vdi`].
    pub fn import_vm<B>(&self, body: B) -> VmImport<B>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        VmImport {
            client: self.clone(),
            body,
            sr: None,
            route: None,
            restore: false,
            force: false,
            label: "import of a VM".to_owned(),
            progress: None,
            queued: None,
        }
    }

    /// The hosts that see every disk of a VM; all, as no one in particular, when it has none.
    async fn hosts_of_disks(&self, vm: &Ref<Vm>) -> Result<Option<BTreeSet<Ref<Host>>>> {
        let mut hosts: Option<BTreeSet<Ref<Host>>> = None;
        let mut seen = BTreeSet::new();
        for vbd in self.get_field(vm, vm::field::VBDS).await? {
            let disk = self.get_field(&vbd, vbd::field::VDI).await?;
            if disk.is_null() {
                continue;
            }
            let sr = self.get_field(&disk, vdi::field::SR).await?;
            if seen.insert(sr.clone()) {
                let see: BTreeSet<_> = self.hosts_of(&sr).await?.into_iter().collect();
                hosts = Some(hosts.map_or_else(|| see.clone(), |hosts| &hosts & &see));
            }
        }
        Ok(hosts)
    }
}

impl<B> VmImport<B> {
    /// Where the disks are made.
    pub fn sr(mut self, sr: &Ref<Sr>) -> Self {
        self.sr = Some(sr.clone());
        self
    }

    /// Sends it through this host instead of finding one out.
    pub fn via(mut self, route: Route) -> Self {
        self.route = Some(route);
        self
    }

    /// Keeps the VM's uuid and MAC addresses. A VM of that uuid must not exist, or be of an older version.
    pub fn restore(mut self) -> Self {
        self.restore = true;
        self
    }

    /// Goes on in spite of wrong checksums and of a newer host's archive. Nothing is checked on this side then but
    /// the beginning.
    pub fn force(mut self) -> Self {
        self.force = true;
        self
    }

    /// Calls `progress` with the number of bytes sent, several times a second while it changes.
    pub fn on_progress(mut self, progress: impl FnMut(u64) + Send + 'static) -> Self {
        self.progress = Some(Box::new(progress));
        self
    }

    /// Calls `queued` with the position in the host's queue, as [`Import::on_queue`](crate::Import::on_queue).
    pub fn on_queue(mut self, queued: impl FnMut(usize) + Send + 'static) -> Self {
        self.queued = Some(Box::new(queued));
        self
    }

    /// The name of the task in the host, which operators see.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }
}

impl<B> IntoFuture for VmImport<B>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Output = Result<Vec<Ref<Vm>>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl<B> VmImport<B>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    async fn run(self) -> Result<Vec<Ref<Vm>>> {
        let Self { client, body, sr, route, restore, force, label, progress, queued } = self;
        let fault = Fault::default();
        let importing = async {
            let (body, len) = Checked::guest(body, force).await?;
            let len = Length::exact(len);
            let mut route = match (route, &sr) {
                (Some(route), _) => route,
                (None, Some(sr)) => client.route_to_sr(sr).await?,
                (None, None) => client.route_to_sr(&default_sr(&client).await?).await?,
            };
            let sent = Meter::new();
            let handler = handler::Import { restore, force, sr_id: sr, sr_uuid: None };
            let proposal = Upload {
                handler,
                len: len.clone(),
                sent: sent.clone(),
                fault: fault.clone(),
                queued,
                body: Some(body),
            };
            let accepted =
                Box::pin(negotiate(&client, proposal, &mut route.endpoint, &label, "a VM")).await?;
            let endpoint = accepted.endpoint.clone();
            // XAPI does not read the archive's end, and resets the connection when it has what it wants.
            let poured = pour(accepted, &client, &len, &sent, progress, async { Ok(()) }).await;
            let record = poured.map_err(|error| error.at(&endpoint))?.record;
            xmlrpc::decode_value(&record.result, &Limits::RESPONSE).map_err(|e| {
                Error::new(ErrorKind::Protocol, format!("the task's result cannot be read: {e}"))
                    .because(e)
                    .at(&endpoint)
            })
        };
        let result = importing.await;
        result.map_err(|error| {
            let error = match fault.take() {
                Some(problem) => Error::new(ErrorKind::Body, problem.to_string()).because(problem),
                None => error,
            };
            error.renamed("import of a VM")
        })
    }
}

async fn default_sr(client: &Client) -> Result<Ref<Sr>> {
    let pools = client.all::<Pool>().await?;
    let sr = match pools.first() {
        Some(pool) => client.get_field(pool, pool::field::DEFAULT_SR).await?,
        None => Ref::NULL,
    };
    sr.non_null().ok_or_else(|| {
        Error::new(ErrorKind::Config, "the pool has no default SR").remedy("name the SR for the disks")
    })
}

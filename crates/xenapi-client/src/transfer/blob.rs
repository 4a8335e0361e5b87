//! What is not disks: files that belong to objects, and backups of the pool's database and of hosts.

use bytes::Bytes;
use http_body::Body;
use xenapi_types::handler::{
    GetBlob, Handler, HostBackup, HostRestore, PoolDatabase, PutBlob, RestoreDatabase,
};
use xenapi_types::{Blob, Host};
use xenapi_wire::Ref;

use super::Meter;
use super::accept::negotiate;
use super::body::{Fault, Length};
use super::export::{Content, Subject};
use super::import::{Poured, Upload, pour};
use super::request::ExportRequest;
use crate::client::Client;
use crate::endpoint::Endpoint;
use crate::error::{BoxError, Error, ErrorKind, Result};
use crate::event::name;

/// The largest blob that is read into memory, in bytes.
const MAX_BLOB_BYTES: usize = 64 << 20;

impl Client {
    /// Reads a file that belongs to an object, such as one of `VM.blobs`, up to 64 MiB.
    ///
    /// # Errors
    /// `NotFound` when there is no such blob; `Protocol` when it is larger; else as [`Client::call`].
    pub async fn blob(&self, blob: &Ref<Blob>) -> Result<Bytes> {
        let request = GetBlob { uuid: None, blob: Some(blob.clone()) };
        let reading = async {
            let endpoint = self.session().await?.endpoint.clone();
            self.fetch(request, endpoint, MAX_BLOB_BYTES).await
        };
        reading.await.map_err(|error| error.renamed(name(blob)))
    }

    /// Replaces the content of a file that belongs to an object; such a file is made by a call, as
    /// `VM.create_new_blob`. The body must know its exact length.
    ///
    /// # Errors
    /// As [`Client::import_vdi`].
    pub async fn put_blob<B>(&self, blob: &Ref<Blob>, body: B) -> Result<()>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let handler = PutBlob { uuid: None, blob: Some(blob.clone()) };
        let endpoint = async { Ok(self.session().await?.endpoint.clone()) };
        self.put_document(handler, "upload of a blob", name(blob), endpoint, body).await
    }

    /// Uploads what is not a disk.
    async fn put_document<H, B>(
        &self,
        handler: H,
        label: &str,
        object: String,
        endpoint: impl Future<Output = Result<Endpoint>>,
        body: B,
    ) -> Result<()>
    where
        H: Handler + Clone + Send,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let fault = Fault::default();
        let writing = async {
            let len = body.size_hint().exact().ok_or_else(|| {
                Error::new(ErrorKind::Body, "the body does not know its length, which XAPI needs")
            })?;
            let (len, sent) = (Length::exact(len), Meter::new());
            let proposal = Upload {
                handler,
                len: len.clone(),
                sent: sent.clone(),
                fault: fault.clone(),
                queued: None,
                body: Some(body),
            };
            let accepted = Box::pin(negotiate(self, proposal, &mut endpoint.await?, label, &object)).await?;
            let endpoint = accepted.endpoint.clone();
            let poured = pour(accepted, self, &len, &sent, None, async { Ok(()) }).await;
            poured.and_then(Poured::complete).map_err(|error| error.at(&endpoint))
        };
        let result = writing.await;
        result.map_err(|error| {
            let error = match fault.take() {
                Some(problem) => Error::new(ErrorKind::Body, problem.to_string()).because(problem),
                None => error,
            };
            error.renamed(object)
        })
    }

    /// Asks whether the pool could be made again what it was when [`Client::export_database`] read this, and changes
    /// nothing: a backup that was never tried is none. The body must know its exact length.
    ///
    /// The restore itself is not offered here: it replaces every object and restarts the toolstack of every host, and
    /// `xe pool-restore-database` does it with an operator looking on.
    ///
    /// # Errors
    /// `Failure` with XAPI's reason: `RESTORE_INCOMPATIBLE_VERSION` of a newer host's database,
    /// `RESTORE_TARGET_MGMT_IF_NOT_IN_BACKUP` of another pool's. Else as [`Client::import_vdi`].
    pub async fn check_database<B>(&self, body: B) -> Result<()>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let handler = RestoreDatabase { dry_run: true };
        let object = "a backup of the pool's database".to_owned();
        let endpoint = async { Ok(self.session().await?.endpoint.clone()) };
        self.put_document(handler, "check of a backup", object, endpoint, body).await
    }

    /// Begins to read what a host needs to be set up again, as its dom0 packs it: the end is what the host says
    /// it is, nothing is checked on the way. It holds secrets.
    ///
    /// # Errors
    /// `NotFound` when there is no such host; `Failure` with XAPI's `BACKUP_SCRIPT_FAILED`; else as
    /// [`Client::export_vdi`].
    pub fn export_host_backup(&self, host: &Ref<Host>) -> ExportRequest {
        let host = host.clone();
        ExportRequest::new(self, |client, options| async move {
            let what = Subject {
                label: "backup of a host",
                object: name(&host),
                content: Content::Unknown,
                queued: options.queued,
            };
            let endpoint = match options.route {
                Some(route) => route.endpoint,
                None => client.endpoint_of(&host).await?,
            };
            client.download(HostBackup::default(), endpoint, what).await
        })
    }

    /// Gives a host a backup that [`Client::export_host_backup`] read from it. The host puts it aside and is set up by it
    /// at the next boot, which is not asked for. The body must know its exact length.
    ///
    /// # Errors
    /// `Failure` with XAPI's `RESTORE_SCRIPT_FAILED` when the host cannot use it; else as [`Client::import_vdi`].
    pub async fn restore_host<B>(&self, host: &Ref<Host>, body: B) -> Result<()>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let object = format!("restore of {}", name(host));
        let handler = HostRestore::default();
        self.put_document(handler, "restore of a host", object, self.endpoint_of(host), body).await
    }

    /// Begins to read the pool's database, in XML: a backup of everything but the disks. It holds secrets.
    ///
    /// # Errors
    /// As [`Client::export_vdi`].
    pub fn export_database(&self) -> ExportRequest {
        ExportRequest::new(self, |client, options| async move {
            let what = Subject {
                label: "export of the pool's database",
                object: "the pool's database".to_owned(),
                content: Content::Document { end: "</database>" },
                queued: options.queued,
            };
            let endpoint = match options.route {
                Some(route) => route.endpoint,
                None => client.session().await?.endpoint.clone(),
            };
            client.download(PoolDatabase::default(), endpoint, what).await
        })
    }
}

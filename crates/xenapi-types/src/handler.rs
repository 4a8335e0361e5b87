//! XAPI's HTTP handlers as values: one definition from which a client makes the path and a server
//! reads it.
//!
//! ```
//! use xenapi_types::handler::{Format, ImportRawVdi, Request};
//! use xenapi_types::Ref;
//!
//! let request = Request {
//!     session_id: Some(Ref::from("OpaqueRef:s")),
//!     ..Request::from(ImportRawVdi {
//!         vdi: Some(Ref::from("OpaqueRef:v")),
//!         format: Some(Format::Vhd),
//!         ..Default::default()
//!     })
//! };
//! let path = request.path_and_query();
//! assert_eq!(path, "/import_raw_vdi?session_id=OpaqueRef:s&vdi=OpaqueRef:v&format=vhd");
//! assert_eq!(Request::<ImportRawVdi>::parse(&path), Some(Ok(request)));
//! ```
//!
//! Parameters are optional here even where XAPI wants them: what it does without them is part of its
//! behaviour. An HTTP status says nothing about how a transfer went; the task does.

use std::fmt;

use xenapi_wire::Ref;

use crate::{Blob, Session, Sr, Task, Vdi, Vm};

/// The method of HTTP that a handler is registered for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// `GET`
    Get,
    /// `PUT`
    Put,
    /// `CONNECT`
    Connect,
}

impl Method {
    /// The spelling on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Put => "PUT",
            Self::Connect => "CONNECT",
        }
    }
}

/// The parameters of one handler.
pub trait Handler: Default {
    /// The method of HTTP.
    const METHOD: Method;
    /// The path, without query.
    const PATH: &'static str;

    /// The parameters that are given, in order, not encoded.
    fn params(&self) -> Vec<(&'static str, String)>;

    /// Reads the handler's own parameters out of all that were given, in the query and in cookies.
    ///
    /// # Errors
    /// [`ParamError`] when a value has the wrong type.
    fn from_params(params: &Params) -> Result<Self, ParamError>;
}

/// A value that a parameter cannot have.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParamError {
    /// The parameter.
    pub name: &'static str,
    /// Its value.
    pub value: String,
}

impl fmt::Display for ParamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "parameter {} cannot be {:?}", self.name, self.value)
    }
}

impl std::error::Error for ParamError {}

/// A handler's parameters with those that every handler takes.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Request<H> {
    /// The session, unless it goes in a cookie or the request has an `Authorization`.
    pub session_id: Option<Ref<Session>>,
    /// The task that is to show progress and outcome. Without it the server makes one of its own, and
    /// names it in the header `task-id`.
    pub task_id: Option<Ref<Task>>,
    /// The task that a task made by the server is part of.
    pub subtask_of: Option<Ref<Task>>,
    /// The handler's own parameters.
    pub handler: H,
}

impl<H> From<H> for Request<H> {
    fn from(handler: H) -> Self {
        Self { session_id: None, task_id: None, subtask_of: None, handler }
    }
}

/// Without the session, which is as good as a password.
impl<H: fmt::Debug> fmt::Debug for Request<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("session_id", &self.session_id.as_ref().map(|_| format_args!("(secret)")))
            .field("task_id", &self.task_id)
            .field("subtask_of", &self.subtask_of)
            .field("handler", &self.handler)
            .finish()
    }
}

impl<H: Handler> Request<H> {
    /// The target of the request line. It holds the session: not for logs.
    pub fn path_and_query(&self) -> String {
        let common = [
            ("session_id", self.session_id.as_ref().map(Ref::to_string)),
            ("task_id", self.task_id.as_ref().map(Ref::to_string)),
            ("subtask_of", self.subtask_of.as_ref().map(Ref::to_string)),
        ];
        let common = common.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let mut out = H::PATH.to_owned();
        for (i, (name, value)) in common.chain(self.handler.params()).enumerate() {
            out.push(if i == 0 { '?' } else { '&' });
            out.push_str(name);
            out.push('=');
            encode(&value, &mut out);
        }
        out
    }

    /// Reads the target of a request line; `None` when its path is not this handler's.
    pub fn parse(path_and_query: &str) -> Option<Result<Self, ParamError>> {
        let (path, query) = split(path_and_query);
        (path == H::PATH).then(|| Self::from_params(&Params::from_query(query)))
    }

    /// Reads the parameters, wherever they came from.
    ///
    /// # Errors
    /// [`ParamError`] when a value has the wrong type.
    pub fn from_params(params: &Params) -> Result<Self, ParamError> {
        Ok(Self {
            session_id: Value::read("session_id", params)?,
            task_id: Value::read("task_id", params)?,
            subtask_of: Value::read("subtask_of", params)?,
            handler: H::from_params(params)?,
        })
    }
}

/// Path and query of a request's target. Like XAPI, takes a slash at the end of the path for nothing.
pub fn split(path_and_query: &str) -> (&str, &str) {
    let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
    let trimmed = path.trim_end_matches('/');
    (if trimmed.is_empty() { "/" } else { trimmed }, query)
}

/// Decoded names and values.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Params(Vec<(String, String)>);

/// Names only: the session is among the values.
impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl Params {
    /// The parameters of a query, `a=1&b=2`, percent-encoded.
    pub fn from_query(query: &str) -> Self {
        query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(name, value)| (decode(name), decode(value)))
            .collect()
    }

    /// The value of a parameter. The first one counts when there are several.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

impl FromIterator<(String, String)> for Params {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(iter: I) -> Self {
        Self(iter.into_iter().collect())
    }
}

impl Extend<(String, String)> for Params {
    fn extend<I: IntoIterator<Item = (String, String)>>(&mut self, iter: I) {
        self.0.extend(iter);
    }
}

/// Percent-encodes whatever could end a value or be taken for something else.
fn encode(text: &str, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b':' => {
                out.push(byte as char);
            }
            _ => {
                out.push('%');
                out.push(HEX[usize::from(byte >> 4)] as char);
                out.push(HEX[usize::from(byte & 15)] as char);
            }
        }
    }
}

/// The inverse of [`encode`]; `+` is a blank, and what is no code stands for itself.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        let code = match (first, tail) {
            (b'%', [high, low, after @ ..]) => hex(*high).zip(hex(*low)).map(|(h, l)| (h << 4 | l, after)),
            _ => None,
        };
        match code {
            Some((byte, after)) => {
                bytes.push(byte);
                rest = after;
            }
            None if *first == b'+' => bytes.push(b' '),
            None => bytes.push(*first),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).map(|value| value as u8)
}

/// The value of a parameter.
trait Value: Sized {
    fn write(&self) -> Option<String>;
    fn read(name: &'static str, params: &Params) -> Result<Self, ParamError>;
}

impl<C: ?Sized> Value for Option<Ref<C>> {
    fn write(&self) -> Option<String> {
        self.as_ref().map(Ref::to_string)
    }

    fn read(name: &'static str, params: &Params) -> Result<Self, ParamError> {
        Ok(params.get(name).map(Ref::from))
    }
}

impl Value for Option<String> {
    fn write(&self) -> Option<String> {
        self.clone()
    }

    fn read(name: &'static str, params: &Params) -> Result<Self, ParamError> {
        Ok(params.get(name).map(str::to_owned))
    }
}

impl Value for Option<i64> {
    fn write(&self) -> Option<String> {
        self.map(|number| number.to_string())
    }

    fn read(name: &'static str, params: &Params) -> Result<Self, ParamError> {
        let Some(text) = params.get(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| ParamError { name, value: text.to_owned() })
    }
}

/// `true`, or not at all.
impl Value for bool {
    fn write(&self) -> Option<String> {
        self.then(|| "true".to_owned())
    }

    fn read(name: &'static str, params: &Params) -> Result<Self, ParamError> {
        Ok(params.get(name) == Some("true"))
    }
}

/// A parameter that counts when it is there, whatever its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Present(pub bool);

impl Value for Present {
    fn write(&self) -> Option<String> {
        self.0.write()
    }

    fn read(name: &'static str, params: &Params) -> Result<Self, ParamError> {
        Ok(Self(params.get(name).is_some()))
    }
}

crate::open_enum::open_enum! {
    /// What a disk's content is wrapped in.
    Format {
        Raw "raw",
        Vhd "vhd",
        Tar "tar",
        Qcow2 "qcow2",
    }
}

crate::open_enum::open_enum! {
    /// How an export is compressed. `true` means gzip to XAPI.
    Compression {
        Gzip "gzip",
        Zstd "zstd",
        True "true",
    }
}

macro_rules! text_values {
    ($($ty:ty)*) => {$(
        impl Value for Option<$ty> {
            fn write(&self) -> Option<String> {
                self.as_ref().map(|value| value.as_str().to_owned())
            }

            fn read(name: &'static str, params: &Params) -> Result<Self, ParamError> {
                Ok(params.get(name).map(<$ty>::from))
            }
        }
    )*};
}

text_values! { Format Compression }

/// Declares a handler: `Name: Method "/path" { field "parameter": Type, }`.
macro_rules! handler {
    (
        $(#[$meta:meta])*
        $handler:ident: $method:ident $path:literal {
            $($(#[$field_meta:meta])* $field:ident $name:literal: $ty:ty,)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, Default)]
        pub struct $handler {
            $($(#[$field_meta])* pub $field: $ty,)*
        }

        impl Handler for $handler {
            const METHOD: Method = Method::$method;
            const PATH: &'static str = $path;

            fn params(&self) -> Vec<(&'static str, String)> {
                let all: Vec<(&'static str, Option<String>)> = vec![$(($name, self.$field.write())),*];
                all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
            }

            #[allow(unused_variables, reason = "some handlers take nothing")]
            fn from_params(params: &Params) -> Result<Self, ParamError> {
                Ok(Self { $($field: Value::read($name, params)?,)* })
            }
        }
    };
}

handler! {
    /// Writes a disk's content. The task's result is the VDI.
    ImportRawVdi: Put "/import_raw_vdi" {
        /// The disk, by reference or uuid.
        vdi "vdi": Option<Ref<Vdi>>,
        /// What the body is; raw without it.
        format "format": Option<Format>,
        /// The body is a stream of [chunks](crate::chunked); raw only, and without a length.
        chunked "chunked": Present,
        /// Without a disk: the SR to make one in, as large as the body; raw only.
        sr_id "sr_id": Option<Ref<Sr>>,
        /// The same by uuid.
        sr_uuid "sr_uuid": Option<String>,
    }
}

handler! {
    /// Reads a disk's content. The body ends with the connection: only the task tells whether it is
    /// complete.
    ExportRawVdi: Get "/export_raw_vdi" {
        /// The disk, by reference or uuid.
        vdi "vdi": Option<Ref<Vdi>>,
        /// What the body is to be; raw without it.
        format "format": Option<Format>,
        /// Only what differs from this disk, by reference or uuid; VHD only.
        base "base": Option<Ref<Vdi>>,
    }
}

handler! {
    /// Makes VMs from an XVA. The task's result is an array of them.
    Import: Put "/import" {
        /// Keep MAC addresses and identity.
        restore "restore": bool,
        /// Go on in spite of wrong checksums and incompatibilities.
        force "force": bool,
        /// The SR for the disks; the pool's default SR without it.
        sr_id "sr_id": Option<Ref<Sr>>,
        /// The same by uuid.
        sr_uuid "sr_uuid": Option<String>,
    }
}

handler! {
    /// Reads a halted or suspended VM as an XVA.
    Export: Get "/export" {
        /// The VM by uuid.
        uuid "uuid": Option<String>,
        /// The VM by reference; counts when both are given.
        vm "ref": Option<Ref<Vm>>,
        /// Compression of the body.
        use_compression "use_compression": Option<Compression>,
        /// Write a suspended VM as such.
        preserve_power_state "preserve_power_state": bool,
    }
}

handler! {
    /// Reads the records of a VM, or of all, as an XVA without disks.
    ExportMetadata: Get "/export_metadata" {
        /// The VM by uuid.
        uuid "uuid": Option<String>,
        /// The VM by reference; counts when both are given.
        vm "ref": Option<Ref<Vm>>,
        /// Every VM.
        all "all": bool,
        /// With the snapshots.
        export_snapshots "export_snapshots": bool,
        /// With dom0.
        include_dom0 "include_dom0": bool,
    }
}

handler! {
    /// The console of a VM: what follows the answer is RFB, or the bytes of a terminal. The host that
    /// the console's `location` names must be asked.
    Console: Connect "/console" {
        /// The console or the VM, by uuid.
        uuid "uuid": Option<String>,
        /// The same by reference.
        reference "ref": Option<Ref<xenapi_wire::AnyClass>>,
    }
}

handler! {
    /// Reads a file that belongs to an object.
    GetBlob: Get "/blob" {
        /// The blob by uuid.
        uuid "uuid": Option<String>,
        /// The blob by reference; counts when both are given.
        blob "ref": Option<Ref<Blob>>,
    }
}

handler! {
    /// Writes a file that belongs to an object.
    PutBlob: Put "/blob" {
        /// The blob by uuid.
        uuid "uuid": Option<String>,
        /// The blob by reference; counts when both are given.
        blob "ref": Option<Ref<Blob>>,
    }
}

handler! {
    /// Reads the pool's database, in XML.
    PoolDatabase: Get "/pool/xmldbdump" {}
}

handler! {
    /// Replaces the pool's database by one that was read before.
    RestoreDatabase: Put "/pool/xmldbdump" {
        /// Only looks whether that could be done.
        dry_run "dry_run": bool,
    }
}

handler! {
    /// Reads what a host needs to be set up again, as its dom0 packs it.
    HostBackup: Get "/host_backup" {}
}

handler! {
    /// Gives a host what was read before; it counts after the next boot.
    HostRestore: Put "/host_restore" {}
}

handler! {
    /// Recent measurements of a host and the VMs on it.
    RrdUpdates: Get "/rrd_updates" {
        /// The first moment of interest, in seconds since 1970.
        start "start": Option<i64>,
        /// `AVERAGE`, `MIN` or `MAX`.
        cf "cf": Option<String>,
        /// Seconds between values: 5, 60, 3600 or 86400.
        interval "interval": Option<i64>,
        /// With the host's own measurements.
        host "host": bool,
        /// Only those of this VM.
        vm_uuid "vm_uuid": Option<String>,
        /// Only those of this SR.
        sr_uuid "sr_uuid": Option<String>,
        /// JSON instead of XML.
        json "json": bool,
    }
}

handler! {
    /// All measurements of a VM.
    VmRrd: Get "/vm_rrd" {
        /// The VM.
        uuid "uuid": Option<String>,
        /// JSON instead of XML.
        json "json": bool,
    }
}

handler! {
    /// All measurements of a host.
    HostRrd: Get "/host_rrd" {
        /// JSON instead of XML.
        json "json": bool,
    }
}

handler! {
    /// All measurements of an SR, of a host that it is plugged into.
    SrRrd: Get "/sr_rrd" {
        /// The SR.
        uuid "uuid": Option<String>,
        /// JSON instead of XML.
        json "json": bool,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn round_trip<H: Handler + Clone + PartialEq + fmt::Debug>(request: &Request<H>) {
        assert_eq!(Request::<H>::parse(&request.path_and_query()).as_ref(), Some(&Ok(request.clone())));
    }

    #[test]
    fn odd_values_survive() {
        for uuid in ["", "a b&c=d%41+", "ü/?#", "%", "%4", "%zz", "a+b"] {
            round_trip(&Request::from(VmRrd { uuid: Some(uuid.to_owned()), json: true }));
        }
        round_trip(&Request {
            session_id: Some(Ref::from("OpaqueRef:s&task_id=x")),
            task_id: Some(Ref::NULL),
            ..Request::from(Export { use_compression: Some(Compression::Zstd), ..Export::default() })
        });
    }

    #[test]
    fn recorded_forms_are_understood() {
        let parse = |target| Request::<ImportRawVdi>::parse(target);
        let request =
            parse("/import_raw_vdi/?session_id=OpaqueRef%3As&chunked&format=banana").unwrap().unwrap();
        assert_eq!(request.session_id, Some(Ref::from("OpaqueRef:s")));
        assert_eq!(request.handler.chunked, Present(true));
        assert_eq!(request.handler.format, Some(Format::Unknown("banana".into())));
        assert_eq!(request.handler.vdi, None);
        assert!(parse("/import_raw_vdi").unwrap().is_ok());
        assert!(parse("/export_raw_vdi").is_none());
        let error = Request::<RrdUpdates>::parse("/rrd_updates?start=soon").unwrap().unwrap_err();
        assert_eq!(error.to_string(), "parameter start cannot be \"soon\"");
    }

    #[test]
    fn sessions_are_not_shown() {
        let request =
            Request { session_id: Some(Ref::from("OpaqueRef:s3cret")), ..Request::from(HostRrd::default()) };
        assert!(!format!("{request:?}").contains("s3cret"));
        assert!(!format!("{:?}", Params::from_query("session_id=s3cret")).contains("s3cret"));
    }
}

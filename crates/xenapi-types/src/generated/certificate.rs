//! `Certificate`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `Certificate`. Since Citrix Hypervisor 8.2 (stockholm).
        class Certificate is Listed;
        /// The record of a `Certificate`, as `get_record` returns it.
        "Certificate" CertificateRecord {
            /// `string`, read-only. Since Citrix Hypervisor 8.2 (stockholm).
            0 "uuid" uuid: String;
            /// `string`, read-only. Since XAPI 1.294.0.
            1 "name" [opt] name: Option<String>;
            /// `enum certificate_type`, read-only. Since XAPI 1.294.0.
            2 "type" [opt] r#type: Option<CertificateType>;
            /// `host ref`, set by `create` only. Since Citrix Hypervisor 8.2 (stockholm).
            3 "host" host: Ref<Host>;
            /// `datetime`, set by `create` only. Since Citrix Hypervisor 8.2 (stockholm).
            4 "not_before" not_before: DateTime;
            /// `datetime`, set by `create` only. Since Citrix Hypervisor 8.2 (stockholm).
            5 "not_after" not_after: DateTime;
            /// `string`, set by `create` only. Since Citrix Hypervisor 8.2 (stockholm).
            6 "fingerprint" fingerprint: String;
            /// `string`, read-only. Since XAPI 24.20.0.
            7 "fingerprint_sha256" [opt] fingerprint_sha256: Option<String>;
            /// `string`, read-only. Since XAPI 24.20.0.
            8 "fingerprint_sha1" [opt] fingerprint_sha1: Option<String>;
            /// `enum certificate_purpose set`, set by `create` only. Since XAPI 26.13.0.
            9 "purpose" [opt] purpose: Option<Vec<CertificatePurpose>>;
        }
    }

    open_enum! {
        /// `enum certificate_purpose`
        CertificatePurpose {
            Licensing "licensing",
            Ldaps "ldaps",
        }
    }

    open_enum! {
        /// `enum certificate_type`
        CertificateType {
            Ca "ca",
            Host "host",
            HostInternal "host_internal",
            Pinned "pinned",
        }
    }
}

/// Names of the fields of `Certificate`, for getters and setters.
pub mod field {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    field_names! {
        Certificate;
        ro UUID "uuid" String;
        ro NAME "name" String;
        ro TYPE "type" CertificateType;
        ro HOST "host" Ref<Host>;
        ro NOT_BEFORE "not_before" DateTime;
        ro NOT_AFTER "not_after" DateTime;
        ro FINGERPRINT "fingerprint" String;
        ro FINGERPRINT_SHA256 "fingerprint_sha256" String;
        ro FINGERPRINT_SHA1 "fingerprint_sha1" String;
        ro PURPOSE "purpose" Vec<CertificatePurpose>;
    }
}

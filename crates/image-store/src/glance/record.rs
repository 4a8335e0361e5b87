//! What Glance knows of an image.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::digest::{Algorithm, Digest};
use crate::error::{Error, Result};
use crate::image::Declared;

/// An image as Glance describes it.
#[derive(Debug, Clone, Deserialize)]
pub struct ImageRecord {
    /// Its id.
    pub id: String,
    /// Its name, which need not be the only one of this name.
    #[serde(default)]
    pub name: Option<String>,
    /// `active` when it can be read; `queued` while it has no content.
    pub status: String,
    /// Its length in bytes.
    #[serde(default)]
    pub size: Option<u64>,
    /// In what the disk is packed: `bare`, `ovf`, `tgz`.
    #[serde(default)]
    pub container_format: Option<String>,
    /// What the disk is: `raw`, `vhd`, `iso`.
    #[serde(default)]
    pub disk_format: Option<String>,
    /// Size in GiB of the smallest disk it fits on; 0 where nobody said.
    #[serde(default)]
    pub min_disk: u64,
    /// MD5 of the content.
    #[serde(default)]
    pub checksum: Option<String>,
    /// With what `os_hash_value` was computed.
    #[serde(default)]
    pub os_hash_algo: Option<String>,
    /// The digest of the content.
    #[serde(default)]
    pub os_hash_value: Option<String>,
    /// Everything else, the user's properties among it.
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

impl ImageRecord {
    /// The user's properties and the service's further fields that are text.
    pub fn properties(&self) -> BTreeMap<String, String> {
        let texts =
            self.rest.iter().filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
        texts.collect()
    }

    /// The best digest that Glance has of it: `os_hash_value`, else the MD5.
    pub(super) fn digest(&self) -> Result<Option<Digest>> {
        let algorithm = self.os_hash_algo.as_deref().and_then(Algorithm::named);
        let modern = algorithm.zip(self.os_hash_value.as_deref());
        let known = modern.or(self.checksum.as_deref().map(|md5| (Algorithm::Md5, md5)));
        known.map(|(algorithm, hex)| Digest::new(algorithm, hex)).transpose().map_err(|error| {
            Error::Protocol {
                what: format!("image {}", self.id),
                problem: format!("Glance has a digest of it that is none: {error}"),
            }
        })
    }

    pub(super) fn declared(&self) -> Declared {
        Declared {
            container: self.container_format.clone(),
            disk: self.disk_format.clone(),
            min_disk_gib: Some(self.min_disk).filter(|size| *size > 0),
            properties: self.properties(),
        }
    }
}

/// Who sees an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Visibility {
    /// Its project: what Nova's snapshots are.
    #[default]
    Private,
    /// Those it is shared with.
    Shared,
    /// Everybody; the service may allow this to administrators only.
    Public,
}

/// An image to make.
#[derive(Debug, Clone)]
pub struct NewImage {
    /// Its name.
    pub name: String,
    /// In what the disk is packed.
    pub container_format: String,
    /// What the disk is.
    pub disk_format: String,
    /// Who sees it.
    pub visibility: Visibility,
    /// Size in GiB of the smallest disk it fits on.
    pub min_disk_gib: u64,
    /// Properties by name. Names are sent as they are: Nova's plugin made `auto-disk-config` of
    /// `auto_disk_config`, which nobody reads.
    pub properties: BTreeMap<String, String>,
}

impl NewImage {
    /// A private image without properties.
    pub fn new(name: impl Into<String>, container_format: &str, disk_format: &str) -> Self {
        Self {
            name: name.into(),
            container_format: container_format.to_owned(),
            disk_format: disk_format.to_owned(),
            visibility: Visibility::default(),
            min_disk_gib: 0,
            properties: BTreeMap::new(),
        }
    }

    /// The image under this id.
    pub(super) fn body(&self, id: &str) -> Value {
        let properties = self.properties.iter().map(|(name, value)| (name.clone(), value.as_str().into()));
        let mut body: Map<String, Value> = properties.collect();
        let visibility = match self.visibility {
            Visibility::Private => "private",
            Visibility::Shared => "shared",
            Visibility::Public => "public",
        };
        // After the properties: none of them can take the place of these.
        body.extend([
            ("id".to_owned(), id.into()),
            ("name".to_owned(), self.name.as_str().into()),
            ("container_format".to_owned(), self.container_format.as_str().into()),
            ("disk_format".to_owned(), self.disk_format.as_str().into()),
            ("visibility".to_owned(), visibility.into()),
            ("min_disk".to_owned(), self.min_disk_gib.into()),
        ]);
        Value::Object(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_digest_is_taken() {
        let record = |hash: Value| -> ImageRecord {
            let mut all = serde_json::json!({"id": "i", "status": "active", "os_type": "linux", "tags": []});
            all.as_object_mut().unwrap().extend(hash.as_object().unwrap().clone());
            serde_json::from_value(all).unwrap()
        };
        let (md5, sha) = ("0".repeat(32), "0".repeat(64));
        let both = serde_json::json!({"checksum": md5, "os_hash_algo": "sha256", "os_hash_value": sha});
        assert_eq!(record(both).digest().unwrap().unwrap().algorithm(), Algorithm::Sha256);
        let odd = serde_json::json!({"checksum": md5, "os_hash_algo": "blake9", "os_hash_value": "00"});
        assert_eq!(record(odd).digest().unwrap().unwrap().algorithm(), Algorithm::Md5);
        assert!(record(serde_json::json!({"checksum": "x"})).digest().is_err());
        let none = record(serde_json::json!({}));
        assert_eq!(none.digest().unwrap(), None);
        assert_eq!(none.properties(), BTreeMap::from([("os_type".to_owned(), "linux".to_owned())]));
    }

    #[test]
    fn properties_keep_their_names_and_take_no_others() {
        let mut image = NewImage::new("n", "ovf", "vhd");
        image.properties = [("auto_disk_config", "disabled"), ("name", "evil"), ("id", "evil")]
            .map(|(k, v)| (k.into(), v.into()))
            .into();
        let body = image.body("i");
        assert_eq!((&body["auto_disk_config"], &body["name"]), (&"disabled".into(), &"n".into()));
        assert_eq!(body["id"], "i");
    }
}

//! An image in Glance.

use http::HeaderMap;

use crate::content::{Content, Pending};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::glance::service::Glance;
use crate::http::{Answer, Fetch, Resuming};
use crate::image::{Image, ImageSource};

/// An image in Glance, by its id or name.
///
/// It is checked with the digest that Glance has of it, and with the user's. A broken download goes on where
/// it broke, at the next endpoint: the content of an image never changes.
#[derive(Debug, Clone)]
pub struct GlanceSource {
    glance: Glance,
    id_or_name: String,
    digests: Vec<Digest>,
}

impl GlanceSource {
    /// The image of this id, or the only one of this name.
    pub fn new(glance: Glance, id_or_name: impl Into<String>) -> Self {
        Self { glance, id_or_name: id_or_name.into(), digests: Vec::new() }
    }

    /// A digest it must have, besides the one that Glance knows.
    pub fn digest(mut self, digest: Digest) -> Self {
        self.digests.push(digest);
        self
    }
}

struct Download {
    glance: Glance,
    id: String,
}

impl Fetch for Download {
    fn fetch(&self, headers: HeaderMap) -> Pending<'_, Result<Answer>> {
        Box::pin(self.glance.download(&self.id, headers))
    }
}

impl ImageSource for GlanceSource {
    fn open(&self) -> Pending<'_, Result<Image>> {
        Box::pin(async {
            let record = self.glance.find(&self.id_or_name).await?;
            let what = format!("image {:?} ({})", record.name.as_deref().unwrap_or_default(), record.id);
            if record.status != "active" {
                let problem = format!("its status is {:?}: there is nothing to read yet", record.status);
                return Err(Error::Invalid { what, problem });
            }
            let digests: Vec<_> = record.digest()?.into_iter().chain(self.digests.iter().cloned()).collect();
            let download = Download { glance: self.glance.clone(), id: record.id.clone() };
            let body = Resuming::open(what.clone(), download, self.glance.retry, true).await?;
            let len = record.size.or(body.len());
            let mut content = Content::new(what, len, body);
            digests.into_iter().for_each(|digest| content.check(digest));
            Ok(Image { declared: record.declared(), len, content })
        })
    }
}

//! Images into Glance.

use crate::content::Pending;
use crate::digest::Algorithm;
use crate::error::{Error, Result};
use crate::glance::record::NewImage;
use crate::glance::service::Glance;
use crate::image::{Image, ImageSink, Stored};
use crate::retry::Attempts;

/// A new image in Glance.
///
/// Each attempt makes an image of its own and removes it if it fails. When it is done, Glance's own digest
/// has been compared with the one of what was sent.
#[derive(Debug, Clone)]
pub struct GlanceSink {
    glance: Glance,
    image: NewImage,
}

impl GlanceSink {
    /// An image that is yet to be made.
    pub fn new(glance: Glance, image: NewImage) -> Self {
        Self { glance, image }
    }

    async fn attempt(&self, image: Image) -> Result<Stored> {
        let glance = self.glance.at_next_endpoint();
        let id = glance.create(&self.image).await?.id;
        match self.fill(&glance, &id, image).await {
            Ok(stored) => Ok(stored),
            Err(error) => {
                // What made the upload fail is the news, not that the remains could not be removed.
                let _ = self.glance.delete(&id).await;
                Err(error)
            }
        }
    }

    async fn fill(&self, glance: &Glance, id: &str, image: Image) -> Result<Stored> {
        let (len, digest) = glance.upload(id, image.content).await?;
        let record = glance.show(id).await?;
        let what = format!("image {:?} ({id})", self.image.name);
        if record.status != "active" {
            let problem = format!("after the upload its status is {:?}", record.status);
            return Err(Error::Protocol { what, problem });
        }
        if let Some(got) = record.size.filter(|size| *size != len) {
            return Err(Error::Length { what, got, expected: len });
        }
        if let Some(got) =
            record.digest()?.filter(|got| got.algorithm() == Algorithm::Sha512 && *got != digest)
        {
            return Err(Error::Digest { what, got, expected: digest });
        }
        Ok(Stored { place: id.to_owned(), len, digest })
    }
}

impl ImageSink for GlanceSink {
    fn store<'a>(
        &'a self,
        make: &'a (dyn Fn() -> Pending<'a, Result<Image>> + Send + Sync),
    ) -> Pending<'a, Result<Stored>> {
        Box::pin(async {
            let what = format!("image {:?}", self.image.name);
            let mut attempts = Attempts::new(self.glance.retry);
            loop {
                let attempt = async { self.attempt(make().await?).await };
                match attempt.await {
                    Ok(stored) => return Ok(stored),
                    Err(error) => attempts.failed(&what, error).await?,
                }
            }
        })
    }
}

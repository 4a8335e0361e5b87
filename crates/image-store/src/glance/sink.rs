//! Images into Glance.

use uuid::Uuid;

use crate::content::Pending;
use crate::digest::Algorithm;
use crate::error::{Error, Result};
use crate::glance::record::NewImage;
use crate::glance::service::Glance;
use crate::image::{Image, ImageSink, Stored};
use crate::retry::Attempts;

/// A new image in Glance.
///
/// Each attempt makes an image of its own, under an id that is chosen here, and removes it if it fails. When
/// it is done, Glance's own digest has been compared with the one of what was sent.
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

    /// An image that cannot be removed again after a failure is noted in `left`.
    async fn attempt(&self, image: Image, left: &mut Vec<String>) -> Result<Stored> {
        let glance = self.glance.at_next_endpoint();
        // Chosen here, so that an image can be removed of whose making no answer came.
        let mut id = Uuid::new_v4().to_string();
        let stored = async {
            id = glance.create(&self.image, &id).await?;
            self.fill(&glance, &id, image).await
        };
        let stored = stored.await;
        // What made the upload fail is the news, not that the remains could not be removed.
        if stored.is_err() && glance.beside().delete(&id).await.is_err() {
            left.push(id);
        }
        stored
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
            let (mut attempts, mut left) = (Attempts::new(self.glance.retry), Vec::new());
            loop {
                let attempt = async { self.attempt(make().await?, &mut left).await };
                match attempt.await {
                    Ok(stored) => {
                        // The service is there again.
                        for id in left {
                            let _ = self.glance.delete(&id).await;
                        }
                        return Ok(stored);
                    }
                    Err(error) => attempts.failed(&what, error).await?,
                }
            }
        })
    }
}

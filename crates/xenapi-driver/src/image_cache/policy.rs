//! Which images are cached, and what becomes of them: Nova's options `cache_images` and `use_cow_images`.

use xenapi_config::Settings as Options;

use super::{CacheRequest, Copying, cache};
use crate::driver::Driver;
use crate::error::Op;
use crate::operation::Operation;
use crate::progress::Progress;
use crate::spec::RootImage;

/// Nova's option `cache_images`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CacheImages {
    /// Every image.
    #[default]
    All,
    /// Those that are marked for it: Nova's image property `image_cache_in_nova`.
    Some,
    /// None.
    None,
}

/// What operators want of the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CachePolicy {
    /// Which images are cached.
    pub images: CacheImages,
    /// How root disks are made of them (`use_cow_images`).
    pub copying: Copying,
}

impl CachePolicy {
    /// As the options say.
    pub fn of(options: &Options) -> Self {
        let images = match &*options.text("cache_images") {
            "some" => CacheImages::Some,
            "none" => CacheImages::None,
            _ => CacheImages::All,
        };
        let copying = if options.flag("use_cow_images") { Copying::Clone } else { Copying::Full };
        Self { images, copying }
    }

    /// Whether an image is cached: `marked` is whether it is marked for it.
    pub fn caches(&self, marked: bool) -> bool {
        match self.images {
            CacheImages::All => true,
            CacheImages::Some => marked,
            CacheImages::None => false,
        }
    }
}

impl Driver {
    /// What to spawn from by the operator's options: the image as it is in the cache, fetched unless it is there, or,
    /// if it is not to be cached, as it is in its place. `marked` is whether the image is marked for the cache.
    ///
    /// The instance is to go to the SR of the request: elsewhere it is copied in full.
    ///
    /// # Errors
    ///
    /// As [`Driver::cache_image`].
    pub fn root_image(
        &self,
        request: CacheRequest,
        policy: CachePolicy,
        marked: bool,
        progress: Progress,
    ) -> Operation<RootImage> {
        let object = format!("image {:?}", request.image_id);
        self.verb(Op::Images, object, progress, move |job, stop| {
            Box::pin(async move {
                if !policy.caches(marked) {
                    return Ok(request.image);
                }
                Ok(RootImage::Cached(cache(job, &request, stop).await?, policy.copying))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_options_say() {
        let of = |text: &str| CachePolicy::of(&Options::new().nova_conf("nova.conf", text).unwrap());
        for (text, images, copying, [plain, marked]) in [
            ("", CacheImages::All, Copying::Clone, [true, true]),
            ("[xenserver]\ncache_images = some", CacheImages::Some, Copying::Clone, [false, true]),
            ("[xenserver]\ncache_images = none", CacheImages::None, Copying::Clone, [false, false]),
            ("[DEFAULT]\nuse_cow_images = false", CacheImages::All, Copying::Full, [true, true]),
        ] {
            let policy = of(text);
            assert_eq!(policy, CachePolicy { images, copying }, "{text}");
            assert_eq!([policy.caches(false), policy.caches(true)], [plain, marked], "{text}");
        }
    }
}

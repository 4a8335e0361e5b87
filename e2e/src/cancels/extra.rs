//! What the sweep has no steps for.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use xenapi_driver::host_boot::ResumeOptions;
use xenapi_driver::image_cache::{CachePolicy, CacheRequest, Eviction};
use xenapi_driver::pool_move::MoveOptions;
use xenapi_driver::spec::Locking;
use xenapi_driver::{Driver, Result, Shutdown};

use crate::sweep::scene::VOLUME;
use crate::sweep::site::Site;

/// Something that is done.
pub(super) type Act = for<'a> fn(&'a Site) -> Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

macro_rules! acts {
    ($($name:ident: |$site:ident, $driver:ident| $operation:expr;)*) => {
        $(pub(crate) fn $name($site: &Site) -> Pin<Box<dyn Future<Output = Result<()>> + Send + '_>> {
            Box::pin(async move {
                let $driver = &$site.driver;
                $site.run($operation).await.map(drop)
            })
        })*
    };
}

/// Its report tells of guests that did not come up.
pub(crate) fn resume_guests(site: &Site) -> Pin<Box<dyn Future<Output = Result<()>> + Send + '_>> {
    Box::pin(async move {
        let options = ResumeOptions { instances: Some(vec![site.instance()]), progress: site.progress() };
        let resumed = site.run(site.driver.resume_guests(site.home(), options)).await?;
        site.note_leftovers(resumed.down.len());
        Ok(())
    })
}

acts! {
    move_to_pool: |site, driver| driver.move_to_pool(site.which(), there(site), MoveOptions {
        shutdown: Shutdown::Hard,
        progress: site.progress(),
        ..MoveOptions::default()
    });
    confirm_move: |site, driver| driver.confirm_move(site.which(), there(site), site.progress());
    revert_move: |site, driver| driver.revert_move(site.which(), there(site), site.progress());
    extend_volume: |site, driver| driver.extend_volume(site.which(), VOLUME, None, site.progress());
    check_volumes: |site, driver| driver.check_volumes(site.which(), site.progress());
    lock_interface: |site, driver| {
        driver.lock_interface(site.which(), "0", Locking::Disabled, site.progress())
    };
    tell_network: |site, driver| driver.tell_network(site.which(), BTreeMap::new(), site.progress());
    change_metadata: |site, driver| driver.change_metadata(site.which(), metadata(), site.progress());
    check_config_drive: |site, driver| driver.check_config_drive(site.which(), site.progress());
    root_image: |site, driver| driver.root_image(
        CacheRequest::new("image-1", site.image()),
        CachePolicy::default(),
        true,
        site.progress(),
    );
    evict_images: |site, driver| driver.evict_images(
        Eviction { older_than: Some(Duration::ZERO), ..Eviction::default() },
        site.progress(),
    );
    disable: |site, driver| driver.set_node_enabled(site.elsewhere().0, false, site.progress());
    enable: |site, driver| driver.set_node_enabled(site.elsewhere().0, true, site.progress());
}

fn there(site: &Site) -> &Driver {
    site.there.as_ref().expect("another pool")
}

fn metadata() -> BTreeMap<String, Option<String>> {
    BTreeMap::from([("role".to_owned(), Some("web".to_owned()))])
}

//! What end-to-end tests share: real disk images, other people's tools to judge them, and the behaviours of
//! XAPI as checks.
//!
//! * [`mod@bench`]: what a test of the driver begins with.
//! * [`cancels`]: verbs that are cancelled at their calls and stages.
//! * [`conformance`]: what XAPI does, for simulators and real hosts to be held against.
//! * [`dice`]: chance that can be repeated.
//! * [`dom0`]: a directory of real plugins, and a xenstore in files for them.
//! * [`guest`]: an agent behind the real plugins, as a guest has it.
//! * [`image`]: a 4 GiB disk with an ext4 file system full of files, as raw and as VHD.
//! * [`kills`]: verbs that are killed at every step, and what reconciling makes of it.
//! * [`load`]: many spawns at once, and a large pool that is followed.
//! * [`openstack`]: a real Glance and a real Keystone.
//! * [`pool`]: a simulated pool with a driver, and a census of what is in it.
//! * [`rivals`]: several programs at the same instances, under a model.
//! * [`service`]: the simulator as a service of HTTP requests.
//! * [`sweep`]: every verb of the driver with every fault at every call.
//! * [`victim`]: what a program does that is killed in the middle of it.
//! * [`tools`]: qemu-img, e2fsck and others, and what happens when one is missing.

pub mod bench;
pub mod cancels;
pub mod conformance;
pub mod dice;
pub mod dom0;
pub mod facade;
pub mod guest;
pub mod image;
pub mod kills;
pub mod load;
pub mod openstack;
pub mod pool;
pub mod ports;
pub mod rivals;
pub mod service;
pub mod sweep;
pub mod tools;
pub mod victim;

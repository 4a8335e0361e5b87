//! What the machine is like: its processors, memory, disks and devices.

use std::str::FromStr;

use anyhow::Result;
use clap::{Args, ValueEnum};
use examples::cli;
use xenapi_driver::spec::{Firmware, Flavor, Hardware, Power, Vga};

/// Size and devices of the machine.
#[derive(Debug, Args)]
#[command(next_help_heading = "Machine")]
pub(crate) struct Machine {
    /// Size of the instance: m1.tiny to m1.xlarge, or vcpus:memory_mib:root_gib (0 keeps the image's size).
    #[arg(long, default_value = "1:512:0")]
    flavor: Flavor,
    /// Size of a blank disk to swap to (xvdc), in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=cli::MOST_MIB))]
    swap_mib: u64,
    /// Size of the blank disks that end with the instance (from xvde on), in GiB in all: several if it is more than 2000.
    #[arg(long, value_name = "GIB", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=cli::MOST_GIB))]
    ephemeral_gib: u64,
    /// The least memory in MiB that the host may leave to the guest when others need it: ballooning. Without it, memory is
    /// fixed.
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..=cli::MOST_MIB))]
    memory_min_mib: Option<u64>,
    /// Share of the processors against other guests; usually 256.
    #[arg(long, value_name = "NUMBER")]
    vcpu_weight: Option<u32>,
    /// Ceiling of all virtual CPUs together, in percent of one processor; 0 is none.
    #[arg(long, value_name = "PERCENT")]
    vcpu_cap: Option<u32>,
    /// Processors of the host that the guest may use: 0-3,8.
    #[arg(long, value_name = "NUMBERS")]
    vcpu_mask: Option<Cpus>,
    /// Cores that share a socket, as the guest sees it; a divisor of the number of virtual CPUs.
    #[arg(long, value_name = "NUMBER")]
    cores_per_socket: Option<u32>,
    /// What starts the boot loader.
    #[arg(long, value_enum, default_value = "bios")]
    firmware: Loader,
    /// A virtual TPM; needs UEFI.
    #[arg(long)]
    tpm: bool,
    /// The guest may run virtual machines itself.
    #[arg(long)]
    nested: bool,
    /// A device of the host for the guest alone: 0000:04:00.0; may be given several times. The host is said by --node.
    #[arg(long, value_name = "ADDRESS")]
    pci: Vec<String>,
    /// A virtual GPU: the name of a type (VGPU_type.model_name) or its uuid; may be given several times.
    #[arg(long, value_name = "TYPE|UUID")]
    gpu: Vec<String>,
    /// The emulated graphics card.
    #[arg(long, value_enum)]
    vga: Option<Card>,
    /// The memory of the graphics card, 1 to 256 MiB.
    #[arg(long, value_name = "MIB")]
    video_ram_mib: Option<u32>,
    /// The four digits of the emulated platform device, for drivers that look for another one than the usual.
    #[arg(long, value_name = "DIGITS")]
    device_id: Option<String>,
    /// What becomes of it when it is complete.
    #[arg(long, value_enum, default_value = "on")]
    power: Start,
}

impl Machine {
    pub(crate) fn flavor(&self) -> Flavor {
        Flavor {
            swap_mib: self.swap_mib,
            ephemeral_gib: self.ephemeral_gib,
            memory_min_mib: self.memory_min_mib,
            vcpu_weight: self.vcpu_weight,
            vcpu_cap: self.vcpu_cap,
            vcpu_mask: self.vcpu_mask.clone().unwrap_or_default().0,
            ..self.flavor.clone()
        }
    }

    pub(crate) fn hardware(&self) -> Hardware {
        Hardware {
            firmware: match self.firmware {
                Loader::Bios => Firmware::Bios,
                Loader::Uefi => Firmware::Uefi { secure_boot: false },
                Loader::SecureBoot => Firmware::Uefi { secure_boot: true },
            },
            cores_per_socket: self.cores_per_socket,
            nested: self.nested,
            device_id: self.device_id.clone(),
            pci: self.pci.clone(),
            tpm: self.tpm,
            gpus: self.gpu.clone(),
            vga: self.vga.map(|card| match card {
                Card::Cirrus => Vga::Cirrus,
                Card::Std => Vga::Std,
            }),
            video_ram_mib: self.video_ram_mib,
        }
    }

    pub(crate) fn power(&self) -> Power {
        match self.power {
            Start::On => Power::On,
            Start::Paused => Power::Paused,
            Start::Off => Power::Off,
        }
    }
}

/// What starts a boot loader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Loader {
    Bios,
    Uefi,
    /// UEFI that starts boot loaders only if they are signed.
    SecureBoot,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Card {
    Cirrus,
    /// Plain VGA with larger modes.
    Std,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Start {
    On,
    /// Paused before its first instruction.
    Paused,
    /// Halted.
    Off,
}

/// Numbers of processors: `0-3,8`.
#[derive(Debug, Clone, Default)]
struct Cpus(Vec<u32>);

impl FromStr for Cpus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let range = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
            // No host has more; what is longer would only fill memory.
            (first <= last && last < 4096).then_some(first..=last)
        };
        let mut cpus = Vec::new();
        for part in text.split(',') {
            cpus.extend(range(part).ok_or_else(|| format!("{part:?}: write numbers and ranges: 0-3,8"))?);
        }
        Ok(Self(cpus))
    }
}

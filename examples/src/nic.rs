//! Interfaces in the words of a command line: `xenbr0,mac=52:54:00:00:00:01,address=192.0.2.5/24,gateway=192.0.2.1`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use xenapi_driver::spec::{Address, Locking, MacAddr, MacChoice, Nic, Route};

use crate::words::Words;

/// How they are written.
pub const NIC: &str = "NETWORK[,KEY=VALUE…]";

/// An interface: a network by name, bridge or uuid, and what [`Nic`] has besides.
///
/// # Errors
///
/// For what is not understood.
pub fn nic(text: &str) -> Result<Nic, String> {
    let mut words = Words::of(text);
    let network = words.first("the name of a network")?;
    let mac = match words.one::<String>("mac")?.as_deref() {
        None => MacChoice::default(),
        Some("xensource") => MacChoice::XenSource,
        Some(mac) => MacChoice::Given(mac.parse::<MacAddr>().map_err(|e| e.to_string())?),
    };
    let mut other_config = BTreeMap::new();
    if let Some(port) = words.one::<uuid::Uuid>("port")? {
        other_config.insert("neutron-port-id".to_owned(), port.to_string());
    }
    for pair in words.all::<String>("other-config")? {
        let (key, value) =
            pair.split_once(':').ok_or_else(|| format!("other-config={pair}: write KEY:VALUE"))?;
        other_config.insert(key.to_owned(), value.to_owned());
    }
    let nic = Nic {
        mac,
        other_config,
        mtu: words.one("mtu")?,
        limit_kbytes: words.one("qos-kbps")?,
        locking: locking(words.one("locking")?, &words.all("allowed")?)?,
        addresses: addresses(&mut words)?,
        tags: words.all("tag")?,
        ..Nic::on(network)
    };
    words.end()?;
    Ok(nic)
}

/// What an interface lets through. Addresses that are allowed lock it.
///
/// # Errors
///
/// For addresses where nothing is locked, and the other way round.
pub fn locking(mode: Option<Mode>, allowed: &[IpAddr]) -> Result<Locking, String> {
    let texts = |v4: bool| allowed.iter().filter(|ip| ip.is_ipv4() == v4).map(ToString::to_string).collect();
    match mode {
        None if allowed.is_empty() => Ok(Locking::NetworkDefault),
        None | Some(Mode::Locked) => Ok(Locking::Locked { ipv4: texts(true), ipv6: texts(false) }),
        Some(mode) if !allowed.is_empty() => {
            Err(format!("allowed addresses are for an interface that is locked, not for {mode:?}"))
        }
        Some(Mode::NetworkDefault) => Ok(Locking::NetworkDefault),
        Some(Mode::Unlocked) => Ok(Locking::Unlocked),
        Some(Mode::Disabled) => Ok(Locking::Disabled),
    }
}

/// XAPI's locking modes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// As the network says.
    NetworkDefault,
    /// Everything.
    Unlocked,
    /// Nothing.
    Disabled,
    /// Only the addresses that are allowed, with the interface's own MAC.
    Locked,
}

impl std::str::FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        clap::ValueEnum::from_str(text, false)
            .map_err(|_| "use network-default, unlocked, disabled or locked".to_owned())
    }
}

/// The addresses of an interface that is there: `52:54:00:00:00:01,address=192.0.2.5/24,…`.
///
/// # Errors
///
/// For what is not understood.
pub fn told(text: &str) -> Result<(MacAddr, Vec<Address>), String> {
    let mut words = Words::of(text);
    let mac =
        words.first("the MAC address of an interface")?.parse::<MacAddr>().map_err(|e| e.to_string())?;
    let addresses = addresses(&mut words)?;
    words.end()?;
    Ok((mac, addresses))
}

/// Static addresses. Gateways, name servers and routes belong to the first of their family.
fn addresses(words: &mut Words) -> Result<Vec<Address>, String> {
    let mut addresses = Vec::new();
    for Prefix(address, len) in words.all("address")? {
        addresses.push(Address::new(address, len));
    }
    let of = |ip: IpAddr, what: &str| {
        let same = addresses.iter().position(|a: &Address| a.address.is_ipv4() == ip.is_ipv4());
        same.ok_or_else(|| format!("{what} {ip}: no address= of its family is there"))
    };
    let gateways = words.all::<IpAddr>("gateway")?;
    let gateways = gateways.into_iter().map(|ip| Ok((of(ip, "gateway")?, ip)));
    let gateways = gateways.collect::<Result<Vec<_>, String>>()?;
    let mut routes = Vec::new();
    for text in words.all::<String>("route")? {
        let route = text.split_once('@').and_then(|(to, by)| Some((to.parse().ok()?, by.parse().ok()?)));
        let Some((Prefix(network, prefix), gateway)) = route else {
            return Err(format!("route={text}: write NETWORK/LENGTH@GATEWAY"));
        };
        routes.push((of(network, "route to")?, Route { network, prefix, gateway }));
    }
    let servers = words.all::<IpAddr>("dns")?;
    let Some(first) = addresses.first_mut() else {
        return if servers.is_empty() { Ok(addresses) } else { Err("dns= needs an address=".to_owned()) };
    };
    first.dns = servers;
    gateways.into_iter().for_each(|(at, ip)| addresses[at].gateway = Some(ip));
    routes.into_iter().for_each(|(at, route)| addresses[at].routes.push(route));
    Ok(addresses)
}

/// `192.0.2.5/24`.
struct Prefix(IpAddr, u8);

impl std::str::FromStr for Prefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed =
            text.split_once('/').and_then(|(ip, len)| Some((ip.parse::<IpAddr>().ok()?, len.parse().ok()?)));
        let fits = parsed.filter(|(ip, len)| *len <= if ip.is_ipv4() { 32 } else { 128 });
        fits.map(|(ip, len)| Self(ip, len))
            .ok_or_else(|| "write ADDRESS/LENGTH, such as 192.0.2.5/24".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_at_once() -> Result<(), Box<dyn std::error::Error>> {
        let nic = nic(
            "Pool-wide network,mac=52:54:00:12:34:56,mtu=9000,qos-kbps=512,allowed=192.0.2.5,allowed=2001:db8::5,\
             address=192.0.2.5/24,gateway=192.0.2.1,address=2001:db8::5/64,gateway=2001:db8::1,dns=192.0.2.53,\
             route=198.51.100.0/24@192.0.2.9,tag=front,tag=web,port=6f1f8c2e-5a0a-4a53-9a3b-0d8a1ce2a8f1,\
             other-config=note:a=b",
        )?;
        assert_eq!((&*nic.network, nic.mtu, nic.limit_kbytes), ("Pool-wide network", Some(9000), Some(512)));
        assert_eq!(nic.mac, MacChoice::Given("52:54:00:12:34:56".parse()?));
        let (ipv4, ipv6) = (vec!["192.0.2.5".to_owned()], vec!["2001:db8::5".to_owned()]);
        assert_eq!(nic.locking, Locking::Locked { ipv4, ipv6 });
        let [v4, v6] = &nic.addresses[..] else { panic!("{:?}", nic.addresses) };
        assert_eq!(
            (v4.prefix_len, v4.gateway, &v4.dns[..]),
            (24, Some("192.0.2.1".parse()?), &["192.0.2.53".parse()?][..])
        );
        assert_eq!((v6.prefix_len, v6.gateway), (64, Some("2001:db8::1".parse()?)));
        assert_eq!((v4.routes[0].prefix, v4.routes[0].gateway), (24, "192.0.2.9".parse::<IpAddr>()?));
        assert_eq!(nic.tags, ["front", "web"]);
        assert_eq!(nic.other_config["neutron-port-id"], "6f1f8c2e-5a0a-4a53-9a3b-0d8a1ce2a8f1");
        assert_eq!(nic.other_config["note"], "a=b");
        Ok(())
    }

    #[test]
    fn little_and_wrong() -> Result<(), String> {
        assert_eq!(nic("xenbr0")?, Nic::on("xenbr0"));
        assert_eq!(nic("xenbr0,mac=xensource")?.mac, MacChoice::XenSource);
        assert_eq!(nic("xenbr0,locking=disabled")?.locking, Locking::Disabled);
        for (text, part) in [
            ("", "the name of a network is missing"),
            ("xenbr0,mac=7", "MAC"),
            ("xenbr0,mtu=big", "mtu=big"),
            ("xenbr0,mut=9000", "is not understood: use mac, "),
            ("xenbr0,address=192.0.2.5/33", "192.0.2.5/24"),
            ("xenbr0,address=192.0.2.5/24,gateway=2001:db8::1", "no address= of its family"),
            ("xenbr0,dns=192.0.2.53", "needs an address="),
            ("xenbr0,locking=unlocked,allowed=192.0.2.5", "locked"),
            ("xenbr0,locking=shut", "use network-default"),
            ("xenbr0,route=192.0.2.0/24", "NETWORK/LENGTH@GATEWAY"),
        ] {
            let error = nic(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        Ok(())
    }
}

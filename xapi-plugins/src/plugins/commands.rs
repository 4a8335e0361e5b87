//! Which command lines callers may have run in dom0: those of Neutron's agent and of Nova's firewall. A list of programs
//! alone is none: `ip netns exec`, `iptables-restore --modprobe=`, `sysctl -w kernel.core_pattern=` and files of rules
//! with such words in them start any other one.

/// A program, the options that it may have, and whether its other words are right.
struct Allowed {
    program: &'static str,
    /// Whole, as an abbreviation may stand for another one; what is behind `=` does not count.
    options: &'static [&'static str],
    words: fn(&[&str]) -> bool,
    /// What it reads.
    input: fn(&str) -> bool,
}

const RESTORE: &[&str] = &[
    "-c",
    "--counters",
    "-n",
    "--noflush",
    "-t",
    "--test",
    "-T",
    "--table",
    "-v",
    "--verbose",
    "-w",
    "--wait",
    "-W",
];
const SAVE: &[&str] = &["-c", "--counters", "-t", "--table"];
const OVS: &[&str] = &[
    "--",
    "--all",
    "--columns",
    "--data",
    "--format",
    "--id",
    "--if-exists",
    "--inactive",
    "--may-exist",
    "--names",
    "--no-headings",
    "--no-names",
    "--no-stats",
    "--no-wait",
    "--oneline",
    "--read-only",
    "--strict",
    "--timeout",
    "--with-iface",
    "-O",
    "--protocols",
    "--bundle",
    "-f",
    "-t",
    "-v",
    "--verbose",
];
const IP: &[&str] = &[
    "-4",
    "-6",
    "-br",
    "-brief",
    "-d",
    "-details",
    "-j",
    "-json",
    "-o",
    "-oneline",
    "-s",
    "-stats",
    "-statistics",
];
const CONNTRACK: &[&str] = &[
    "-D",
    "--delete",
    "-L",
    "--dump",
    "-F",
    "--flush",
    "-C",
    "--count",
    "-G",
    "--get",
    "-S",
    "--stats",
    "-f",
    "--family",
    "-p",
    "--proto",
    "--protonum",
    "-s",
    "--src",
    "--orig-src",
    "-d",
    "--dst",
    "--orig-dst",
    "-r",
    "--reply-src",
    "-q",
    "--reply-dst",
    "-w",
    "--zone",
    "--orig-zone",
    "--reply-zone",
    "-m",
    "--mark",
    "-n",
    "--src-nat",
    "-g",
    "--dst-nat",
    "--sport",
    "--dport",
    "--orig-port-src",
    "--orig-port-dst",
    "--icmp-type",
    "--icmp-code",
    "--icmp-id",
    "-o",
    "-u",
    "--state",
    "-z",
];
const IPSET: &[&str] = &[
    "-!", "-exist", "--exist", "-o", "-output", "-q", "-quiet", "-s", "-sorted", "-n", "-name", "-t",
    "-terse",
];

const ALLOWED: [Allowed; 11] = [
    Allowed { program: "conntrack", options: CONNTRACK, words: any_words, input: any_input },
    Allowed { program: "ip", options: IP, words: of_ip, input: any_input },
    Allowed { program: "ip6tables-restore", options: RESTORE, words: of_tables, input: rules },
    Allowed { program: "ip6tables-save", options: SAVE, words: of_tables, input: any_input },
    Allowed { program: "ipset", options: IPSET, words: any_words, input: sets },
    Allowed { program: "iptables-restore", options: RESTORE, words: of_tables, input: rules },
    Allowed { program: "iptables-save", options: SAVE, words: of_tables, input: any_input },
    Allowed { program: "ovs-ofctl", options: OVS, words: of_ovs, input: any_input },
    Allowed { program: "ovs-vsctl", options: OVS, words: of_ovs, input: any_input },
    Allowed { program: "ovsdb-client", options: OVS, words: of_ovs, input: any_input },
    Allowed {
        program: "sysctl",
        options: &["-a", "-e", "-n", "-q", "-w"],
        words: of_sysctl,
        input: any_input,
    },
];

/// Why a command may not be run with this input, if so.
pub(super) fn refused(command: &[&str], input: &str, programs: impl Fn(&str) -> bool) -> Option<String> {
    let all = || ALLOWED.iter().filter(|allowed| programs(allowed.program));
    let program = command.first().copied().unwrap_or("nothing");
    // The whole word: `/tmp/ip` is not `ip`.
    let Some(allowed) = all().find(|allowed| allowed.program == program) else {
        let names: Vec<&str> = all().map(|allowed| allowed.program).collect();
        return Some(format!("{program} may not be run; these may: {}", names.join(", ")));
    };
    let words = &command[1..];
    let name = |word: &str| word.split('=').next().unwrap_or_default().to_owned();
    let is_option = |word: &&&str| word.starts_with('-') && **word != "-";
    if let Some(option) = words.iter().filter(is_option).find(|word| !allowed.options.contains(&&*name(word)))
    {
        return Some(format!("{program} may not be run with {option:?}"));
    }
    let rest: Vec<&str> = words.iter().copied().filter(|word| !is_option(&word)).collect();
    match ((allowed.words)(&rest), (allowed.input)(input)) {
        (true, true) => None,
        (true, false) => Some(format!("{program} may not be given what its input says")),
        (false, _) => Some(format!("{program} may not be run with {:?}", rest.join(" "))),
    }
}

fn any_words(_: &[&str]) -> bool {
    true
}

/// No socket of a file's name to listen at, for which whatever has that name is removed, and no file that is written: neither in
/// plain words nor as values of the database may spell them in JSON.
fn of_ovs(words: &[&str]) -> bool {
    let writes = |word: &&str| ["punix:", "bootstrap_ca_cert", "\\u"].iter().any(|part| word.contains(part));
    !words.iter().any(writes)
}

fn any_input(_: &str) -> bool {
    true
}

/// An object by its whole name and a verb; of namespaces no `exec`, and no program for the kernel from a file, which
/// `ip` also takes by any beginning of `object-file`.
fn of_ip(words: &[&str]) -> bool {
    const OBJECTS: [&str; 10] =
        ["addr", "address", "link", "maddress", "neigh", "neighbor", "neighbour", "route", "rule", "tunnel"];
    const LOADERS: [&str; 3] = ["xdp", "bpf", "obj"];
    let loads = |word: &str| {
        let begins = LOADERS.iter().any(|loader| word.starts_with(loader));
        begins || "object-file".starts_with(word) || ["encap", "endpoint"].contains(&word)
    };
    match words {
        ["netns"] | ["netns", "list" | "show"] => true,
        ["netns", "add" | "del" | "delete", name] => is_file_name(name),
        [object, rest @ ..] => OBJECTS.contains(object) && !rest.iter().any(|word| loads(word)),
        [] => false,
    }
}

/// `ip` makes and removes a file of this name, wherever it leads.
fn is_file_name(name: &str) -> bool {
    !["", ".", ".."].contains(&name) && !name.contains('/')
}

/// The name of a table, or how long is waited: no file.
fn of_tables(words: &[&str]) -> bool {
    let tables = ["filter", "nat", "mangle", "raw", "security"];
    words.iter().all(|word| tables.contains(word) || word.bytes().all(|b| b.is_ascii_digit()))
}

/// What a parser may have read a line in: `iptables-restore` reads so many bytes at once, whatever they are.
const MAX_LINE_BYTES: usize = 10_000;

/// The words of an input, by every way in which parsers have taken quotes and backslashes: as ends of words, as nothing,
/// and as `iptables-restore` does, where a quote begins within a word and ends one.
fn all_words(input: &str) -> impl Iterator<Item = String> {
    let is_mark = |c: char| matches!(c, '"' | '\'' | '\\');
    let split = input.split(move |c: char| c.is_whitespace() || is_mark(c)).map(str::to_owned);
    let joined = input.split_whitespace().map(move |word| word.replace(is_mark, ""));
    split.chain(joined).chain(input.lines().flat_map(words_of_rule))
}

/// The words of a line of rules.
fn words_of_rule(line: &str) -> Vec<String> {
    let (mut words, mut word) = (Vec::new(), String::new());
    let (mut is_quoted, mut is_escaped) = (false, false);
    for c in line.chars() {
        let is_end = match c {
            _ if is_escaped => false,
            '\\' if is_quoted => {
                is_escaped = true;
                continue;
            }
            '"' => {
                is_quoted = !is_quoted;
                if is_quoted {
                    continue;
                }
                true
            }
            c => c.is_whitespace() && !is_quoted,
        };
        is_escaped = false;
        match is_end {
            true => words.push(std::mem::take(&mut word)),
            false => word.push(c),
        }
    }
    words.push(word);
    words
}

/// Rules name no program that is to load the kernel's modules. The parser of rules takes options abbreviated and joined.
fn rules(input: &str) -> bool {
    let is_read_whole = input.split('\n').all(|line| line.len() <= MAX_LINE_BYTES) && !input.contains('\0');
    is_read_whole
        && all_words(input).all(|word| {
            let name = word.split('=').next().unwrap_or_default();
            let is_long = name.len() > 3 && "--modprobe".starts_with(name);
            let is_short = word.starts_with('-') && !word.starts_with("--") && word.contains('M');
            !is_long && !is_short
        })
}

/// Sets are read from the input and from no file, and written to none.
fn sets(input: &str) -> bool {
    all_words(input).all(|word| !["-f", "-file", "--file"].iter().any(|option| word.starts_with(option)))
}

/// Settings of the network by their names. `.` and `/` may stand for each other, and `..` for what is above.
fn of_sysctl(words: &[&str]) -> bool {
    words.iter().all(|word| {
        let key = word.split('=').next().unwrap_or_default();
        let plain = key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./:@".contains(&b));
        let below = key.strip_prefix("net").is_some_and(|rest| rest.starts_with(['.', '/']));
        plain && below && !["..", "//", "./", "/."].iter().any(|part| key.contains(part))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_refused(line: &str, input: &str) -> bool {
        refused(&line.split(' ').collect::<Vec<_>>(), input, |_| true).is_some()
    }

    /// What Neutron's agent and Nova's firewall run.
    #[test]
    fn what_clients_run() {
        for line in [
            "ip -o link show br-int",
            "ip link set qvo1 up",
            "ip -4 addr show dev eth0",
            "ip -6 neigh show",
            "ip link set eth0 mtu 1500",
            "ip netns list",
            "ip netns add qrouter-0f1d",
            "ip netns delete qrouter-0f1d",
            "iptables-save",
            "iptables-save -c",
            "iptables-save -t raw",
            "iptables-restore -n -w 10 -W 200000",
            "ip6tables-restore --noflush -c",
            "sysctl -w net.ipv4.conf.eth0/100.arp_accept=1",
            "sysctl -n net.bridge.bridge-nf-call-iptables",
            "ipset create -exist NIPv4a hash:net family inet",
            "ipset restore -exist",
            "conntrack -D -f ipv4 -d 192.0.2.7 -w 1",
            "ovs-vsctl --timeout=10 --oneline --format=json -- --may-exist add-br br-int",
            "ovs-vsctl --id=@p create Port name=a -- add Bridge br-int ports @p",
            "ovs-vsctl --columns=name,external_ids list Interface",
            "ovs-ofctl -O OpenFlow13 dump-flows br-int table=0",
            "ovs-ofctl add-flows br-int -",
            "ovs-ofctl mod-flows br-int priority=-1",
            "ovsdb-client monitor tcp:127.0.0.1:6640 Interface name,ofport,external_ids --format=json",
        ] {
            assert!(!is_refused(line, ""), "{line}");
        }
        assert!(!is_refused(
            "iptables-restore -c",
            "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -m mark --mark 1 -j ACCEPT\n"
        ));
        let comment =
            "-A INPUT -m comment --comment \"a \\\"MAC\\\" it's so\" -m mac --mac-source 00:16:3E:00:00:01\n";
        assert!(!is_refused("iptables-restore", comment));
        assert!(!is_refused("ipset restore", "create a hash:net\nadd a 192.0.2.0/24\n"));
    }

    #[test]
    fn what_would_start_another_program() {
        for line in [
            "ovs-vsctl set-manager punix:/etc/passwd",
            "ovs-vsctl set manager a target=\"\\u0070unix:/etc/passwd\"",
            "ovs-vsctl create SSL bootstrap_ca_cert=true ca_cert=/etc/cron.d/a",
            "ovsdb-client list-dbs punix:/etc/passwd",
            "ovs-ofctl show punix:/etc/passwd",
            "ip netns exec a id",
            "ip net exec a id",
            "ip n exec",
            "ip netns e a id",
            "ip netns del ../../tmp/x",
            "ip netns add /tmp/x",
            "ip netns del ..",
            "ip netns add .",
            "ip netns add ",
            "ip netns add",
            "ip netns del a /tmp/x",
            "ip netns list exec",
            "ip vrf exec a id",
            "ip -all netns exec id",
            "ip -a netns exec id",
            "ip -batch /tmp/x",
            "ip -b -",
            "ip -n a link",
            "ip link set eth0 xdp obj /tmp/x.o",
            "ip link set eth0 xdpgeneric object /tmp/x.o",
            "ip route add 192.0.2.0/24 encap bpf in obj /tmp/x.o",
            "ip route add fd00::/64 encap seg6local action End.BPF endpoint o /tmp/x.o",
            "ip route add fd00::/64 dev eth0 endpoint ob /tmp/x.o",
            "ip link set eth0 obj /tmp/x.o",
            "ip link set eth0 o /tmp/x.o",
            "ip",
            "iptables-restore --modprobe=/tmp/x",
            "iptables-restore --modprobe /tmp/x",
            "iptables-restore --modp=/tmp/x",
            "iptables-restore -M/tmp/x",
            "iptables-restore -M /tmp/x",
            "iptables-restore -nM/tmp/x",
            "iptables-restore /tmp/rules",
            "iptables-save -f /etc/passwd",
            "iptables-save -M /tmp/x",
            "sysctl -w kernel.core_pattern=|/tmp/x",
            "sysctl -w kernel.modprobe=/tmp/x",
            "sysctl -w net/../kernel/core_pattern=|/tmp/x",
            "sysctl -w net.//.kernel.core_pattern=|/tmp/x",
            "sysctl -w net./../kernel.core_pattern=|/tmp/x",
            "sysctl -w network=1",
            "sysctl -p /tmp/x",
            "sysctl --system",
            "ipset -f /etc/passwd save",
            "ipset -file /etc/passwd save",
            "ovs-vsctl --log-file=/etc/passwd show",
            "ovs-vsctl --bootstrap-ca-cert=/etc/passwd show",
            "ovs-ofctl --detach --pidfile=/etc/passwd monitor br-int",
            "ovs-ofctl --log-f=/etc/passwd show br-int",
            "conntrack --load-file /tmp/x",
            "/tmp/ip link",
            "ip6tables -F",
            "",
        ] {
            assert!(is_refused(line, ""), "{line}");
        }
        for rule in [
            "-A INPUT --modprobe=/tmp/x -m foo\n",
            "-A INPUT --modprobe /tmp/x -m foo\n",
            "-A INPUT \"--modp\" /tmp/x\n",
            "-A INPUT --mo=/tmp/x\n",
            "-A INPUT -M /tmp/x\n",
            "-vM/tmp/x -A INPUT\n",
            "-A INPUT --\"modprobe=/sbin/poweroff\"\n",
            "-A INPUT -\"M\" /x\n",
            "-A INPUT \"--\\modprobe=/x\"\n",
            // A quote begins within a word and ends it, whatever comes then.
            "-A INPUT a\"\"--\"mod\"x=/x\n",
            "-A INPUT -m comment --comment \"a\"-\"M\" /x\n",
            // What is behind the bytes that are read at once is a line of its own.
            &format!("-A INPUT -m comment --comment {}--modprobe=/x\n", "a".repeat(10_207)),
            "-A INPUT -j ACCEPT\0\n",
        ] {
            assert!(
                is_refused("iptables-restore -n", rule) && is_refused("ip6tables-restore", rule),
                "{rule}"
            );
        }
        assert!(is_refused("ipset restore", "save -file /etc/passwd\n"));
        assert!(is_refused("ipset restore", "save -\"file\" /etc/passwd\n"));
    }
}

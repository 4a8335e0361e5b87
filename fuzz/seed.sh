#!/bin/sh
# Fill corpus/ with recorded requests and answers, and with what other people's tools make: the best of it, and of what
# fuzzing found since, is in corpora/.
set -eu
cd "$(dirname "$0")"
mkdir -p $(sed -n 's/^path = "fuzz_targets\/\(.*\)\.rs"$/corpus\/\1/p' Cargo.toml)
python3 - <<'PYTHON'
import base64, glob, gzip, hashlib, io, json, re, struct, tarfile

def save(target, body):
    if body and len(body) <= 4096:
        name = hashlib.sha1(body.encode()).hexdigest()
        with open(f"corpus/{target}/{name}", "w", newline="") as out:
            out.write(body)

def request_to_router(form, body):
    # The first reference of a call is its session.
    body = re.sub("OpaqueRef:[^<\"]*", "$session", body or "", count=1)
    if body and len(body) <= 4096:
        with open(f"corpus/router/{hashlib.sha1(body.encode()).hexdigest()}", "wb") as out:
            out.write(bytes([form]) + body.encode())

for path in glob.glob("../testdata/golden/*.json.gz"):
    for step in json.load(gzip.open(path))["steps"]:
        request, response = step["request"].get("body"), step["response"].get("body")
        vhd = base64.b64decode(step["response"].get("body_b64") or step["request"].get("body_b64") or "")
        if vhd.startswith(b"conectix") and len(vhd) <= 8192:
            with open(f"corpus/vhd_parse/{hashlib.sha1(vhd).hexdigest()}", "wb") as out:
                out.write(vhd)
        if step["transport"] == "xmlrpc" or step["transport"].startswith("jsonrpc"):
            save("envelope", request)
            save("envelope", response)
        if step["transport"] == "xmlrpc" or step["transport"].startswith("jsonrpc"):
            request_to_router(1 if step["transport"] == "xmlrpc" else 2, request)
        if step["transport"] == "xmlrpc":
            save("xmlrpc_roundtrip", request)
            save("xmlrpc_decode", response)
        elif step["transport"].startswith("jsonrpc"):
            save("jsonrpc_roundtrip", request)
            save("xmlrpc_decode", response)

# Disks that arrive: blocks of 4 KiB and small chunks, behind the length of the pieces.
def seal(block, at):
    block[at:at + 4] = bytes(4)
    block[at:at + 4] = (~sum(block) & 0xffffffff).to_bytes(4, "big")
    return bytes(block)

def vhd():
    footer = bytearray(struct.pack(">8sIIQIII4sQQIII16s", b"conectix", 2, 0x10000, 512, 7, 0x74657374, 0, b"Wi2k",
        32768, 32768, 0, 3, 0, bytes(range(16))).ljust(512, b"\0"))
    footer = seal(footer, 64)
    header = bytearray(struct.pack(">8sQQIIII", b"cxsparse", 2**64 - 1, 1536, 0x10000, 8, 4096, 0).ljust(1024, b"\0"))
    table = b"".join(n.to_bytes(4, "big") for n in (4, 2**32 - 1, 13) + (2**32 - 1,) * 5).ljust(512, b"\xff")
    blocks = b"".join((b"\xff" + bytes(511)) + bytes([n]) * 4096 for n in (1, 2))
    return footer + seal(header, 36) + table + blocks + footer

def archive():
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for number, chunk in ((0, b"a" * 1024), (2, b"b" * 1024), (3, b"c" * 512)):
            for name, content in ((f"vdi/{number:08}", chunk), (f"vdi/{number:08}.checksum", hashlib.sha1(chunk).hexdigest().encode())):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return out.getvalue()

for name, stream in (("vhd", vhd()), ("archive", archive())):
    for cut in (0, 99, 255):
        with open(f"corpus/disk_stream/{name}{cut}", "wb") as out:
            out.write(bytes([cut]) + stream)
for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for name in ("./", "0.vhd", "1" * 60 + "/" + "2" * 60 + ".vhd"):
            member = tarfile.TarInfo(name)
            member.type = tarfile.DIRTYPE if name == "./" else tarfile.REGTYPE
            member.size = 0 if name == "./" else 700
            tar.addfile(member, io.BytesIO(bytes(700)))
    with open(f"corpus/disk_archive/{form}", "wb") as file:
        file.write(out.getvalue())
# Archives of guests: as Python writes them, and as lists of members.
for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        def add(name, content):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        add("ova.xml", b"<value><struct></struct></value>")
        for number, chunk in ((0, b"a" * 600), (1, b""), (3, b"c" * 512)):
            add(f"Ref:4/{number:08}", chunk)
            add(f"Ref:4/{number:08}.checksum", hashlib.sha1(chunk).hexdigest().encode())
    with open(f"corpus/guest_archive/{form}", "wb") as file:
        file.write(bytes([0, 99]) + out.getvalue()[:4094])
description, end = bytes([0, 8, 0, 60]), bytes([4])
pieces = b"".join(bytes([kind, disk, number, 44, size, 7]) for kind, disk, number, size in
                  ((1, 1, 0, 2), (2, 1, 3, 0), (3, 1, 4, 1), (3, 2, 0, 2), (1, 2, 255, 0)))
for name, content in (("guest", bytes([2]) + b"%" + description + pieces + end), ("disk", bytes([3]) + b"%" + pieces + end + end),
                      ("cut", bytes([2]) + b"\xff" + description + pieces), ("behind", bytes([3]) + b"\x00" + pieces + end + pieces),
                      ("again", bytes([3]) + b"\x01" + pieces + pieces + end),
                      ("other", bytes([2]) + b"%" + description + bytes([6, 6]) + b"readme" + bytes([3]) + b"abc" + end),
                      ("promise", bytes([2]) + b"%" + description + bytes([7, 14]) + b"Ref:4/00000000" + bytes([0, 0, 16, 0, 0]) + pieces),
                      ("endless", bytes([2]) + b"%" + bytes([7, 7]) + b"ova.xml" + bytes([0, 4, 0, 0, 0]) + pieces),
                      ("junk", bytes([3]) + b"%" + pieces + bytes([5]) + b"j" * 40)):
    with open(f"corpus/guest_archive/{name}", "wb") as out:
        out.write(content)
for date in ("20261121T10:11:12Z", "2026-11-21T10:11:12.345+02:00", "1627478400.", "20261121T101112-0530"):
    save("datetime", date)

# Images that qemu-img makes, tables that sfdisk writes, pickles that Python does.
import os, pickle, shutil, subprocess, tempfile

def keep(target, name, content):
    with open(f"corpus/{target}/{name}", "wb") as out:
        out.write(content)

def tool(*command, **more):
    if shutil.which(command[0], path=os.environ["PATH"] + ":/usr/sbin:/sbin"):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **more)
        return True
    print(f"no {command[0]}: some seeds are not made")
    return False

with tempfile.TemporaryDirectory() as folder:
    raw, image = f"{folder}/disk.raw", f"{folder}/disk.qcow2"
    with open(raw, "wb") as out:
        out.write(bytes(range(256)) * 8 + bytes(30 << 10) + b"end" * 100)
        out.truncate(64 << 10)
    for name, options in (("plain", []), ("packed", ["-c"]), ("old", ["-o", "compat=0.10"]),
                          ("zstd", ["-c", "-o", "compression_type=zstd"]), ("large", ["-o", "cluster_size=4096"])):
        small = [] if name == "large" else ["-o", "cluster_size=512"]
        if tool("qemu-img", "convert", "-O", "qcow2", *small, *options, raw, image):
            content = open(image, "rb").read()
            keep("qcow2_parse", name, content)
            keep("disk_stream", f"qcow2-{name}", b"\x63" + content)
    for label in ("dos", "gpt"):
        disk = f"{folder}/{label}"
        for first, sectors in ((34, 10), (40, 6)):
            with open(disk, "wb") as out:
                out.truncate(80 * 512)
            script = f"label: {label}\nfirst-lba: 34\nunit: sectors\n{first},{sectors},L,*\n"
            script = script if label == "gpt" else script.replace("first-lba: 34\n", "")
            if tool("sfdisk", "--no-reread", "--no-tell-kernel", "--force", disk, input=script.encode()):
                for after in (16, 64):
                    keep("partition_table", f"{label}-{first}-{after}",
                         struct.pack("<HH", 16, after) + open(disk, "rb").read())

for n, value in enumerate(([], {}, {"args": [], "kwargs": {"vdi_ref": "OpaqueRef:1", "number": 7, "flag": True, "none": None}},
                           ["x", ["y", ("z", "\u00e9\n")], {"a": {"b": -1}}], "text", 2**40)):
    text = pickle.dumps(value, protocol=0)
    keep("plugin_pickle", str(n), text)
    keep("plugin_arguments", str(n), text)
keep("plugin_arguments", "write_disk",
     b'{"version":{"major":1,"minor":0},"job":"a-1","params":{"dev":"xvdb","pieces":[[512,"AAAA"]],"zeros":[[0,512]]}}')
keep("plugin_arguments", "fetch_kernel", b'{"version":{"major":1,"minor":0},"params":{"url":"http://a/k","headers":'
     b'{"X-Auth-Token":"t"},"digest":"00","max_bytes":9,"name":"k"}}')
keep("plugin_arguments", "progress", b'{"version":{"major":1,"minor":0},"answer":{"step":"a","done":1,"total":2}}')
keep("plugin_arguments", "plain", b"vdi_ref=OpaqueRef:1\0session=\0new_size=1024\0empty")

# Inspected VHDs: the first byte says which checksums are made right, which footer counts, and how it is looked at.
small = vhd()
for name, how, file in (("sound", 0, small), ("strict", 0xc0, small), ("cut", 0x40, small[:-512]), ("short", 0x40, small[:-1]),
                        ("behind", 0x80, small + b"end"), ("front", 0x10, b"\0" * 512 + small[512:]),
                        ("end", 0, small[:-512] + b"\xc7" * 512), ("uuid", 5, small[:68] + bytes(16) + small[84:]),
                        ("geometry", 5, small[:56] + b"\xff" * 4 + small[60:]), ("features", 5, small[:8] + bytes(4) + small[12:]),
                        ("differ", 0x21, small[:16] + bytes(8) + small[24:]), ("differ2", 0x31, small[:40] + b"\1" + small[41:]),
                        ("hidden", 0x45, small[:85] + b"\1" + small[86:]), ("tap", 0x45, small[:28] + b"tap\0\0\1\0\3" + small[36:]),
                        ("orchestra", 0x45, small[:24] + (946684800 + 7 * 10**8).to_bytes(4, "big") + b"xo  " + small[32:])):
    keep("vhd_inspect", name, bytes([how]) + file)
for name in os.listdir("corpora/vhd_parse"):
    for how in (0, 0x4f, 0xa3, 0xff):
        keep("vhd_inspect", f"{name}-{how}", bytes([how]) + open(f"corpora/vhd_parse/{name}", "rb").read())

# Packed disks: as they are, and as descriptions of a stream: literal bytes, repeated ones, checksums.
def literal(content):
    return b"".join(bytes([len(part) - 1]) + part for part in (content[at:at + 240] for at in range(0, len(content), 240)))

def described(content):
    out, rest = b"", content
    for run in re.finditer(rb"(.)\1{30,}", content, re.DOTALL):
        out += literal(content[len(content) - len(rest):run.start()])
        at, left = run.start(), run.end() - run.start()
        while left >= 64:
            units = min(left // 64, 65535)
            out, left = out + b"\xf4" + units.to_bytes(2, "big") + run.group(1), left - 64 * units
        out += b"\xf0" + left.to_bytes(2, "big") + run.group(1)
        rest = content[run.end():]
    return out + literal(rest)

def layered(name, number, parent, sectors):
    kind = 3 if parent is None else 4
    footer = bytearray(struct.pack(">8sIIQIII4sQQIII16s", b"conectix", 2, 0x10000, 512, 7, 0x74657374, 0x10000, b"Wi2k",
        4 << 20, 4 << 20, 0, kind, 0, bytes([number]) * 16).ljust(512, b"\0"))
    footer = seal(footer, 64)
    header = bytearray(struct.pack(">8sQQIIII", b"cxsparse", 2**64 - 1, 1536, 0x10000, 2, 2 << 20, 0).ljust(1024, b"\0"))
    if parent is not None:
        header[40:56] = bytes([parent]) * 16
        header[64:80] = "base.vhd".encode("utf-16-be")
    table = (4).to_bytes(4, "big") + b"\xff" * 508
    bitmap = b"".join(bytes([sum(128 >> bit for bit in range(8) if 8 * byte + bit in sectors)]) for byte in range(512))
    data = b"".join((bytes([number]) if sector in sectors else b"\0") * 512 for sector in range(4096))
    return footer + seal(header, 36) + table + bitmap + data + footer

def bundle(*members):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return out.getvalue()

leaf, base = layered("0.vhd", 2, 1, {0, 7, 8}), layered("1.vhd", 1, None, {0, 1, 4095})
raw_disk = b"MBR" * 100 + bytes(3000) + b"end" * 50
footer_of_fixed = bytearray(struct.pack(">8sIIQIII4sQQIII16s", b"conectix", 2, 0x10000, 2**64 - 1, 7, 0x74657374, 0x10000, b"Wi2k",
    4096, 4096, 0, 2, 0, bytes(range(16))).ljust(512, b"\0"))
streams = (("raw", 0, raw_disk), ("vhd", 0, small), ("fixed", 0x20, bytes(range(256)) * 16 + seal(footer_of_fixed, 64)),
           ("tar", 0, bundle(("0.vhd", small))), ("chain", 0, bundle(("0.vhd", leaf), ("1.vhd", base))),
           ("upside", 0, bundle(("base.vhd", base), ("image.vhd", leaf))), ("disk", 0xc0, bundle(("disk.raw", raw_disk))),
           ("noend", 0, bundle(("disk.raw", raw_disk))[:512 + 4096]))
for name, options, stream in streams:
    size = 0xff if len(stream) > 100000 else 63
    for cut, member, at in ((0, 0, 20), (200, 255, 9999)):
        behind = bytes([size, cut, member]) + at.to_bytes(2, "big")
        text = described(stream)
        if len(text) < 4000:
            keep("packed_disk", f"{name}-{cut}", bytes([options | 1]) + behind + text)
            keep("packed_disk", f"{name}-{cut}-other", bytes([options | 5]) + behind + text)
    packed = gzip.compress(stream)
    if len(packed) < 4000:
        keep("packed_disk", f"{name}-gzip", bytes([options, size, 99, 0, 0, 0]) + packed)
    if len(packed) < 4000 and tool("zstd", "--version"):
        packed = subprocess.run(["zstd", "-19"], input=stream, check=True, stdout=subprocess.PIPE).stdout
        keep("packed_disk", f"{name}-zstd", bytes([options, size, 99, 0, 0, 0]) + packed)

for n, text in enumerate(('field "name__label"="web" and field "is_a_template"="false"', 'not (field "uuid"="" or true) and false',
                          '"a"="a"', "not not true or false", 'field "x"="y', "(true", "", "\ttrue\n", "field 'a'='b'")):
    keep("query", str(n), text.encode())
modulus = (2**607 - 1) * (2**521 - 1)
for name, fields in (("rsa", [b"\1\0\1", modulus.to_bytes(141, "big")]), ("signed", [b"\3", b"\0" + b"\xff" * 128]), ("short", [b"\3", b"\xff" * 64]),
                     ("long", [b"\3", b"\xff" * 765]), ("too long", [b"\3", b"\xff" * 766]), ("more", [b"\3", b"\xff" * 128, b"\1"])):
    blob = b"".join(len(field).to_bytes(4, "big") + field for field in [b"ssh-rsa"] + fields)
    keep("owner_key", name, b"\0no-pty ssh-rsa " + base64.b64encode(blob) + b" me@example.org")
    listed = b"".join(field[:1] + field[1:2].ljust(1, b"\0") + max(0, len(field) - 3).to_bytes(2, "big") + field[-1:] * 2 for field in fields)
    keep("owner_key", f"{name} as a list", bytes([1, 0, 0, 5]) + listed)
keep("owner_key", "other", b"\2ssh-ed25519 " + base64.b64encode(b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + bytes(32)))
print_of = ":".join(["AB"] * 32)
for n, text in enumerate((f"# hosts\n\nxen1.example.org:443 {print_of}\n[fd00::2]:443\tSHA256:{print_of.replace(':', '').lower()}",
                          f"h:443 {print_of}\r\nh:443 {print_of}\r\n", "h:443", f"h:443 {print_of} x", "\0")):
    keep("known_hosts", str(n), text.encode())
for target in ("rrd", "nbd"):
    for name in os.listdir(f"corpora/{target}"):
        keep(target, name, open(f"corpora/{target}/{name}", "rb").read())
keep("nova_conf", "example", b"""[DEFAULT]
my_ip = 192.0.2.1
target_host = $my_ip
[xenserver]
connection_url = https://$my_ip
independent_compute = yes
agent_timeout = 30
  # a comment
vhd_coalesce_poll_interval: 5.5
check_host = "True"
torrent_base_url = ${DEFAULT.my_ip}/%(x)s
""")
for n, answer in enumerate(('{"returncode": "0", "message": "1.39.0.1"}', '{"returncode": "D0", "message": "9234235\\\\r\\\\n"}',
                            '{"returncode": "500", "message": "failed"}', "162259276829213363391578010288126", "U2FsdGVkX18=", "{")):
    keep("guest_agent", str(n), answer.encode())

def member(path, size, fill):
    return bytes([len(path)]) + path + size.to_bytes(2, "little") + bytes([fill])

for label in (0, 1):
    keep("config_drive", str(label), bytes([label]) + member(b"openstack/latest/meta_data.json", 300, 1)
         + member(b"openstack/latest/user_data", 5000, 2) + member(b"ec2/latest/meta-data.json", 0, 3)
         + member("\u00fcmlaut/a name that is too long for a short one.txt".encode(), 2049, 4))

def piece(offset, data):
    return struct.pack("<QI", offset, len(data)) + data

keep("chunked", "two", piece(0, b"a" * 512) + piece(1024, b"b" * 700) + bytes(12))
keep("chunked", "none", bytes(12))
keep("chunked", "cut", piece(7, b"c" * 30)[:-1])
for n in range(4):
    keep("vhd_layout", str(n), hashlib.sha256(bytes([n])).digest() * 2)
PYTHON

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

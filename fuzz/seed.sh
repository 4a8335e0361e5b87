#!/bin/sh
# Fill corpus/ with recorded requests and answers.
set -eu
cd "$(dirname "$0")"
mkdir -p corpus/envelope corpus/xmlrpc_decode corpus/xmlrpc_roundtrip corpus/jsonrpc_roundtrip corpus/datetime corpus/vhd_parse corpus/disk_stream corpus/disk_archive corpus/router
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
PYTHON

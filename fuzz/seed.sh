#!/bin/sh
# Fill corpus/ with recorded requests and answers.
set -eu
cd "$(dirname "$0")"
mkdir -p corpus/xmlrpc_decode corpus/xmlrpc_roundtrip corpus/jsonrpc_roundtrip corpus/datetime corpus/vhd_parse
python3 - <<'PYTHON'
import base64, glob, gzip, hashlib, json

def save(target, body):
    if body and len(body) <= 4096:
        name = hashlib.sha1(body.encode()).hexdigest()
        with open(f"corpus/{target}/{name}", "w", newline="") as out:
            out.write(body)

for path in glob.glob("../testdata/golden/*.json.gz"):
    for step in json.load(gzip.open(path))["steps"]:
        request, response = step["request"].get("body"), step["response"].get("body")
        vhd = base64.b64decode(step["response"].get("body_b64") or step["request"].get("body_b64") or "")
        if vhd.startswith(b"conectix") and len(vhd) <= 8192:
            with open(f"corpus/vhd_parse/{hashlib.sha1(vhd).hexdigest()}", "wb") as out:
                out.write(vhd)
        if step["transport"] == "xmlrpc":
            save("xmlrpc_roundtrip", request)
            save("xmlrpc_decode", response)
        elif step["transport"].startswith("jsonrpc"):
            save("jsonrpc_roundtrip", request)
            save("xmlrpc_decode", response)
for date in ("20261121T10:11:12Z", "2026-11-21T10:11:12.345+02:00", "1627478400.", "20261121T101112-0530"):
    save("datetime", date)
PYTHON

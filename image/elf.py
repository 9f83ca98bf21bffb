"""Reads a built binary: is it one static file for its architecture, stripped, with the dependencies of Cargo.lock inside?

usage: elf.py BINARY amd64|arm64 CARGO_LOCK
"""

import json
import os
import re
import struct
import sys
import zlib

MACHINES = {"amd64": 62, "arm64": 183}
EXECUTABLE = 2  # and not position-independent, which would be a shared object (3)
DYNAMIC, INTERPRETER = 2, 3
STACK = 0x6474E551
WRITE_AND_EXECUTE = 2 | 1

path, architecture, lock = sys.argv[1:]
elf = open(path, "rb").read()
faults = []


def demand(holds, fault):
    if not holds:
        faults.append(fault)


if elf[:6] != b"\x7fELF\x02\x01":
    sys.exit(f"{path} is no 64-bit little-endian ELF file")
kind, machine = struct.unpack_from("<HH", elf, 16)
demand(machine == MACHINES[architecture], f"it is of machine {machine} and not of {architecture}")
demand(kind == EXECUTABLE, f"it is of type {kind} and not {EXECUTABLE}, an executable at a fixed address")

# Segments: type, flags.
offset, size, count = *struct.unpack_from("<Q", elf, 32), *struct.unpack_from("<HH", elf, 54)
segments = [struct.unpack_from("<II", elf, offset + at * size) for at in range(count)]
kinds = {kind for kind, _ in segments}
demand(INTERPRETER not in kinds, "it asks for a loader (PT_INTERP)")
demand(DYNAMIC not in kinds, "it has a dynamic segment (PT_DYNAMIC)")
demand(STACK in kinds, "it does not say that the stack is no code (PT_GNU_STACK)")
for kind, flags in segments:
    demand(flags & WRITE_AND_EXECUTE != WRITE_AND_EXECUTE, f"a segment of type {kind:#x} is written and executed")

# Sections by name: offset and size.
table, entry, count, names = *struct.unpack_from("<Q", elf, 40), *struct.unpack_from("<HHH", elf, 58)
headers = [struct.unpack_from("<IIQQQQ", elf, table + at * entry) for at in range(count)]
start = headers[names][4]
sections = {elf[start + name : elf.index(0, start + name)].decode(): (at, size) for name, _, _, _, at, size in headers}
for name in sections:
    demand(not name.startswith((".dyn", ".interp", ".debug", ".symtab")), f"it has a section {name}")

if ".dep-v0" not in sections:
    faults.append("no dependencies are inside (section .dep-v0): it was not built by cargo auditable")
    inside = set()
else:
    at, size = sections[".dep-v0"]
    packages = json.loads(zlib.decompress(elf[at : at + size]))["packages"]
    inside = {(it["name"], it["version"]) for it in packages if it.get("kind", "runtime") == "runtime"}
    locked = set(re.findall(r'^name = "(.+)"\nversion = "(.+)"$', open(lock).read(), re.M))
    demand(not inside - locked, f"dependencies inside are not those of {lock}: {sorted(inside - locked)}")
    for name in ("disaster-recovery-operator", "kube", "rustls", "aws-lc-sys"):
        demand(name in dict(inside), f"{name} is not among the dependencies inside")

if faults:
    sys.exit("\n".join(f"{path}: {fault}" for fault in faults))
size = os.path.getsize(path)
print(f"{path}: {architecture}, static, no dynamic section, stripped, {size:,} bytes ({size / 2**20:.1f} MiB)")
print(f"dependencies inside: {len(inside)}, among them kube {dict(inside)['kube']} and aws-lc-sys {dict(inside)['aws-lc-sys']}")

# SPDX-License-Identifier: MIT
"""The test suites, in one place.

To add one: a GoogleTest binary needs nothing here if meson puts it anywhere below BUILD/tests under
a name ending in `_test` (it runs in the lanes host and asan; below BUILD/tests/drm also in vm and
virgl). Anything else is one line in SUITES. Its last line of output must be

    N passed, N failed, N skipped

and each skip should be explained by a line `SKIP name: reason` before it.

In a command {build} is the build folder of the lane (the ASan one in lane asan), {fuzz} the
fuzzers' build folder and {src} the repository. A suite whose program is missing counts as failed.

Lanes:  host     this machine, as it is
        asan     the same, with the build under address and undefined-behaviour sanitizers
        valgrind the same, every process under valgrind --track-fds (see tests/valgrind)
        fuzz     the fuzzers of the clang build
        vm       the virtual machine: vgem, virtio-gpu, udmabuf, dma-heap, all in software
        virgl    the same with a 3D driver for virtio-gpu
        systemd  the same with systemd as process 1
"""

from dataclasses import dataclass

LANES = ("host", "asan", "valgrind", "fuzz", "vm", "virgl", "systemd")
VM_LANES = {"vm": [], "virgl": ["--virgl"], "systemd": ["--systemd"]}
# Everything in one machine, boot included; then it is killed and counts as one failure.
VM_TIMEOUT = 1500


@dataclass(frozen=True)
class Suite:
    name: str
    command: str
    lanes: tuple = ("host",)
    timeout: float = 60  # seconds in lane host; others get SLOWDOWN times as much
    fast: bool = False   # part of --fast
    gtest: bool = False


SLOWDOWN = {"host": 1, "asan": 4, "fuzz": 1, "valgrind": 5, "vm": 5, "virgl": 5, "systemd": 5}

SUITES = [
    Suite("bench", "{src}/tests/bench/compare {build} --check", timeout=120),
    Suite("demo", "python3 {src}/tests/integration/demo_test.py {build} {src}", timeout=300, fast=True),
    Suite("readme", "python3 {src}/tests/integration/readme_test.py {build} {src}", timeout=180, fast=True),
    Suite("matrix", "{build}/tests/drm/matrix", ("host", "vm", "virgl"), timeout=300, fast=True),
    Suite("pairs", "{build}/tests/drm/pairs", ("host", "vm", "virgl"), timeout=120, fast=True),
    Suite("opaque_paths", "{build}/tests/drm/opaque_paths", timeout=300),
    Suite("tools/large_image", "{build}/tests/tools/large_image", timeout=180, gtest=True),
    Suite("abi", "python3 {src}/tests/libclient/abi.py {build}", fast=True),
    Suite("headers", "python3 {src}/tests/libclient/headers.py", timeout=400),
    Suite("package", "python3 {src}/tests/libclient/package.py {build}", fast=True),
    Suite("layering", "python3 {src}/tests/layering.py", fast=True),
    Suite("format", "{src}/tests/format", timeout=240),
    Suite("python_client", "python3 {src}/tests/integration/python_client.py {build}/daemon/dmabrokerd", ("host", "asan"), fast=True),
    # Everything that clients do, with a broker of a later version; and the broker with such clients.
    Suite("later/python_client", "python3 {src}/tests/integration/python_client.py {build}/tests/integration/later_dmabrokerd"),
    Suite("later/libclient", "env DMABROKERD={build}/tests/integration/later_dmabrokerd {build}/tests/libclient/libclient_test"
          " --gtest_filter=BrokerTest.*", gtest=True),
    Suite("later/tools", "env DMABROKERD={build}/tests/integration/later_dmabrokerd {build}/tests/tools/ctl_test", gtest=True),
    Suite("systemd", "python3 {src}/tests/integration/systemd_test.py {build}", ("systemd",), timeout=120),
    Suite("fuzz/decoder", "{src}/tests/fuzz/run 60 {fuzz}/tests/fuzz/fuzz_decoder", ("fuzz",), timeout=180),
    Suite("fuzz/session", "{src}/tests/fuzz/run 60 {fuzz}/tests/fuzz/fuzz_session", ("fuzz",), timeout=180),
    Suite("fuzz/metadata", "{src}/tests/fuzz/run 60 {fuzz}/tests/fuzz/fuzz_metadata", ("fuzz",), timeout=180),
]

# Where GoogleTest binaries are found and where they run; the first match counts.
GTEST_LANES = {
    # Draws every format at full size: minutes in a VM, where the matrix does this work.
    "tests/drm/import_pixels_test": ("host", "asan"),
    # Nothing of virgl is in it.
    "tests/drm/shim/": ("host", "vm"),
    "tests/drm/worker_test": ("host", "asan", "valgrind", "vm", "virgl"),
    "tests/drm/": ("host", "asan", "vm", "virgl"),
    # Starts hundreds of programs: minutes under valgrind.
    "tests/tools/doctor_test": ("host", "asan", "vm", "virgl"),
    "tests/tools/": ("host", "asan"),
    # Its workers crash on purpose, with everything open.
    "tests/integration/worker_fault_test": ("host", "asan"),
    # Starts a process per step and field of a session, hundreds.
    "tests/daemon/state_test": ("host", "asan"),
    # Closes that never return: nobody could say what they leave open.
    # In the machine with its older kernel, which does not keep descriptors off a socket by itself.
    "tests/integration/descriptors_test": ("host", "asan", "vm"),
    "tests/integration/receiver_test": ("host", "asan"),
    "tests/": ("host", "asan", "valgrind"),
}
GTEST_TIMEOUT = 240

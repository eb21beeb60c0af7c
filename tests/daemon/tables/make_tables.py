#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes the stated tables of this folder (README.md tells which those are) from the facts below.

usage: tests/daemon/tables/make_tables.py

Modifiers are put together as drm_fourcc.h defines them; which of them a driver lists for what, how many
planes they have and what it cannot display is from the drivers named beside each table.
"""

import json
from pathlib import Path

LINEAR, INVALID = 0, 0x00FF_FFFF_FFFF_FFFF


def vendor(number, value):
    return number << 56 | value


# Intel: I915_FORMAT_MOD_*
X, Y, YF, Y_CCS, YF_CCS, RC_CCS, MC_CCS, RC_CCS_CC, FOUR, DG2_RC, DG2_MC, DG2_RC_CC = (vendor(1, i) for i in range(1, 13))


# AMD: AMD_FMT_MOD with AMD_FMT_MOD_SET of each field
def amd(version, tile, dcc=False, retile=False, b64=False, b128=False, block=0, constant=False, pipe_xor=0, packers=0):
    return vendor(2, version | tile << 8 | dcc << 13 | retile << 14 | b64 << 16 | b128 << 17 | block << 18 | constant << 20 |
                  pipe_xor << 21 | packers << 27)


GFX9, GFX10_RBPLUS = 1, 3
S, R_X = 9, 27


# NVIDIA: DRM_FORMAT_MOD_NVIDIA_BLOCK_LINEAR_2D(compression, sector, generation, kind, height)
def nvidia(compression, sector, generation, kind, height):
    return vendor(3, 0x10 | height | kind << 12 | generation << 20 | sector << 22 | compression << 23)


# ARM: DRM_FORMAT_MOD_ARM_AFBC and DRM_FORMAT_MOD_ARM_16X16_BLOCK_U_INTERLEAVED
YTR, SPLIT, SPARSE, AFBC_TILED, SC = 1 << 4, 1 << 5, 1 << 6, 1 << 8, 1 << 9


def afbc(flags, block=1):
    return vendor(8, block | flags)


U_INTERLEAVED = vendor(8, 1 << 52 | 1)
QCOM_COMPRESSED, QCOM_TILED3 = vendor(5, 1), vendor(5, 3)
VC4_T_TILED, UIF = vendor(7, 1), vendor(7, 6)


def sand128(column_height):
    return vendor(7, 4 | column_height << 8)


RGB8 = ["XR24", "AR24", "XB24", "AB24"]
RGB10 = ["XR30", "AR30", "XB30", "AB30"]
HALF = ["XB4H", "AB4H"]
SMALL = ["R8  ", "GR88", "R16 ", "GR32", "RG16"]
YUV = ["NV12", "NV21", "NV16", "P010", "P012", "P016", "YU12", "YV12", "YU16", "YU24", "YUYV", "UYVY"]
SAMPLE, DRAW, SCANOUT, ENCODE = "sample", "sample,render", "scanout", "encode"
UNKNOWN = "none"


def planes_of(code):
    return {"NV": 2, "P0": 2, "YU": 3, "YV": 3}.get(code[:2], 1) if code not in ("YUYV", "UYVY") else 1


def rows(formats, modifiers, usage, external=False, kind="dma_buf", most=0):
    """`modifiers`: numbers, or (number, memory planes)."""
    out = []
    for code in formats:
        for modifier in modifiers:
            number, planes = modifier if isinstance(modifier, tuple) else (modifier, planes_of(code))
            out.append((kind, code, number, planes, external, usage, most))
    return out


def gpu_rows(rgb, yuv, most, formats=RGB8 + RGB10 + HALF + SMALL, yuv_formats=YUV):
    """What EGL lists: RGB for everything, YUV for external textures, and the implicit layout of each."""
    return rows(formats, rgb + [INVALID], DRAW, most=most) + rows(yuv_formats, yuv + [INVALID], SAMPLE, True, most=most)


def word(modifier):
    return {LINEAR: "LINEAR", INVALID: "INVALID"}.get(modifier, f"0x{modifier:016x}")


def key(row):
    kinds = ["dma_buf", "opaque", "memfd"]
    return kinds.index(row[0]), int.from_bytes(row[1].encode(), "little"), row[2]


def write(name, api, driver, all_rows, node="", pci=0, uuid=0, driver_uuid=0, stride=0, offset=0, contiguous=False, version=""):
    def hexadecimal(number):
        return f"{number:032x}"

    table = {"device": {"id": {"render_node": 0xE200 + int(node[-3:]) if node else 0, "device_uuid": hexadecimal(uuid),
                               "driver_uuid": hexadecimal(driver_uuid), "pci": pci},
                        "node": node, "driver": driver, "version": version, "software": False},
             "api": api,
             "rules": {"stride_alignment": stride, "offset_alignment": offset, "contiguous": contiguous}}
    lines = []
    for kind, code, modifier, planes, external, usage, most in sorted(set(all_rows), key=key):
        lines.append(json.dumps({"kind": kind, "format": code.strip(), "modifier": word(modifier), "plane_count": planes,
                                 "external_only": external, "usage": usage, "max_size": {"width": most, "height": most}}))
    head = json.dumps({"capabilities": table})[:-2]
    path = Path(__file__).parent / f"{name}.json"
    path.write_text(head + ', "rows": [\n' + ",\n".join(lines) + "\n]}}\n")


def intel():
    place = dict(node="/dev/dri/renderD128", pci=0x10)
    gen12 = [LINEAR, X, Y]
    ccs = [(RC_CCS, 2), (RC_CCS_CC, 3)]
    write("intel_gen12_egl", "egl", "iris", gpu_rows(gen12, [LINEAR, X, Y], 16384) + rows(RGB8 + RGB10 + HALF, ccs, DRAW, most=16384)
          + rows(["NV12", "P010"], [(MC_CCS, 4)], SAMPLE, True, most=16384), uuid=0x12A, driver_uuid=0x1D1, **place)
    write("intel_gen12_kms", "kms", "i915", rows(RGB8 + RGB10 + HALF + ["RG16"], [LINEAR, X, Y], SCANOUT)
          + rows(RGB8, ccs, SCANOUT) + rows(["NV12", "P010", "P012", "P016", "YUYV", "UYVY"], [LINEAR, X, Y], SCANOUT)
          + rows(["NV12", "P010"], [(MC_CCS, 4)], SCANOUT), **place)
    write("intel_gen12_media", "other", "iHD", rows(["NV12", "P010"], [LINEAR, Y], ENCODE, most=8192), stride=64, **place)
    write("intel_gen9_vulkan", "vulkan", "Intel open-source Mesa driver",
          rows(RGB8 + RGB10 + HALF + SMALL, [LINEAR, X, Y], "sample,render,storage", most=16384)
          + rows(RGB8 + HALF, [(Y_CCS, 2)], DRAW, most=16384) + rows(["NV12", "P010", "YU12"], [LINEAR, X, Y], SAMPLE, most=16384),
          uuid=0x109, driver_uuid=0x1D2, **place)
    write("intel_gen9_kms_pipe_c", "kms", "i915", rows(RGB8 + ["XR30", "XB30", "RG16"], [LINEAR, X, Y, YF], SCANOUT)
          + rows(["NV12", "YUYV", "UYVY"], [LINEAR, X, Y, YF], SCANOUT), **place)
    write("intel_dg2_egl", "egl", "iris", gpu_rows([LINEAR, X, FOUR], [LINEAR, X, FOUR], 16384)
          + rows(RGB8 + RGB10 + HALF, [(DG2_RC, 1), (DG2_RC_CC, 2)], DRAW, most=16384)
          + rows(["NV12", "P010"], [(DG2_MC, 2)], SAMPLE, True, most=16384),
          node="/dev/dri/renderD129", pci=0x300, uuid=0xD62, driver_uuid=0x1D1)


def radeon():
    place = dict(node="/dev/dri/renderD129", pci=0x300)
    plus = dict(version=GFX10_RBPLUS, tile=R_X, pipe_xor=4, packers=4)
    tiled = [amd(**plus), amd(GFX9, S)]
    displayed = dict(**plus, dcc=True, retile=True, constant=True, b128=True)
    retile = [(amd(**displayed, block=1), 3), (amd(**displayed, b64=True), 3)]
    write("amd_rdna2_kms", "kms", "amdgpu", rows(RGB8 + RGB10 + HALF + ["RG16"], [LINEAR] + tiled, SCANOUT, most=16384)
          + rows(RGB8 + RGB10, retile, SCANOUT, most=2560) + rows(["NV12", "P010"], [LINEAR], SCANOUT, most=16384),
          stride=256, **place)
    write("amd_vcn", "other", "radeonsi VA", rows(["NV12", "P010"], [LINEAR], ENCODE, most=8192), stride=256, **place)


def geforce():
    blocks = [nvidia(0, 1, 2, 6, height) for height in range(6)]
    compressed = [nvidia(c, 1, 2, 8, height) for c in (1, 3) for height in range(6)]
    place = dict(pci=0x6500, uuid=0x41A, driver_uuid=0x4D1, version="580.159.04")
    write("nvidia_egl", "egl", "NVIDIA", rows(RGB8 + RGB10 + HALF + SMALL, blocks + compressed, DRAW, most=32768)
          + rows(RGB8 + RGB10 + HALF + SMALL, [LINEAR], SAMPLE, True, most=32768)
          + rows(YUV, blocks + [LINEAR], SAMPLE, True, most=32768), node="/dev/dri/renderD129", **place)
    write("nvidia_vulkan", "vulkan", "NVIDIA", rows(RGB8 + RGB10 + HALF + SMALL, blocks + [LINEAR], "sample,render,storage", most=32768)
          + rows(RGB8 + RGB10 + HALF + SMALL + ["NV12", "P010", "YU12"], [(INVALID, 1)], "sample,render,storage", kind="opaque", most=32768),
          node="/dev/dri/renderD129", **place)
    write("nvidia_headless_vulkan", "vulkan", "NVIDIA",
          rows(RGB8 + RGB10 + HALF + SMALL + ["NV12", "P010", "YU12"], [(INVALID, 1)], "sample,render,storage", kind="opaque", most=32768),
          pci=0x1900, uuid=0x41B, driver_uuid=0x4D1, version="580.159.04")
    write("nvidia_kms", "kms", "nvidia-drm", rows(RGB8 + ["XR30", "XB30", "RG16"], blocks + [LINEAR], SCANOUT, most=32768),
          node="/dev/dri/renderD129", pci=0x6500)


def mali():
    place = dict(node="/dev/dri/renderD128")
    afbcs = [afbc(SPARSE), afbc(SPARSE | YTR), afbc(SPARSE | AFBC_TILED | SC), afbc(SPARSE | YTR | AFBC_TILED | SC)]
    write("mali_panfrost_egl", "egl", "panfrost", gpu_rows(afbcs[:2] + [U_INTERLEAVED, LINEAR], [LINEAR, U_INTERLEAVED], 8192),
          **place)
    write("mali_panthor_egl", "egl", "panthor", gpu_rows(
        afbcs + [afbc(SPARSE | SPLIT), afbc(SPARSE | SPLIT | YTR), U_INTERLEAVED, LINEAR],
        [afbc(SPARSE), U_INTERLEAVED, LINEAR], 65536), **place)
    write("rockchip_vop2_cluster", "kms", "rockchip", rows(RGB8 + RGB10[:2], afbcs[:2] + [afbc(SPARSE | SPLIT), afbc(SPARSE | SPLIT | YTR)],
                                                          SCANOUT, most=4096), node="/dev/dri/renderD127")
    write("rockchip_vop2_smart", "kms", "rockchip", rows(RGB8 + ["RG16", "NV12", "NV16", "P010"], [LINEAR], SCANOUT, most=4096),
          node="/dev/dri/renderD127")


def adreno():
    place = dict(node="/dev/dri/renderD128")
    write("adreno_freedreno_egl", "egl", "freedreno",
          gpu_rows([QCOM_TILED3, LINEAR], [LINEAR], 16384) + rows(RGB8 + RGB10 + ["R8  ", "GR88"], [QCOM_COMPRESSED], DRAW, most=16384)
          + rows(["NV12", "P010"], [QCOM_COMPRESSED], SAMPLE, True, most=16384), **place)
    write("qcom_msm_kms", "kms", "msm", rows(RGB8 + RGB10 + ["RG16"], [LINEAR], SCANOUT, most=4096)
          + rows(RGB8 + ["XB30", "AB30", "NV12"], [QCOM_COMPRESSED], SCANOUT, most=4096)
          + rows(["NV12", "NV21", "YU12", "YUYV", "UYVY"], [LINEAR], SCANOUT, most=4096), **place)
    write("qcom_venus_encoder", "v4l2", "venus", rows(["NV12"], [LINEAR, QCOM_COMPRESSED], ENCODE, most=4096), stride=128,
          offset=4096)


def raspberry():
    place = dict(node="/dev/dri/renderD128")
    columns = [sand128(height) for height in (0, 96, 160, 544, 816, 1088, 1632)]
    write("v3d_egl", "egl", "v3d", gpu_rows([UIF, LINEAR], [LINEAR], 4096) + rows(["NV12", "P010"], columns, SAMPLE, True, most=4096),
          **place)
    write("vc4_kms", "kms", "vc4", rows(RGB8 + ["XR30", "RG16"], [LINEAR, VC4_T_TILED], SCANOUT, most=7680)
          + rows(["NV12", "NV21", "NV16", "YU12", "YV12", "YU16"], [LINEAR], SCANOUT, most=7680)
          + rows(["NV12", "P010"], columns, SCANOUT, most=7680), node="/dev/dri/renderD127")


def others():
    write("v4l2_camera", "v4l2", "uvcvideo", rows(["YUYV", "UYVY", "NV12", "YU12", "R8  ", "RG16"], [LINEAR], UNKNOWN, most=3840),
          stride=32, contiguous=True)
    write("v4l2_camera_iommu", "v4l2", "rkisp1", rows(["YUYV", "UYVY", "NV12", "NV21", "NV16", "YU12"], [LINEAR], UNKNOWN, most=4416),
          stride=32)
    write("v4l2_encoder", "v4l2", "hantro", rows(["NV12", "YU12", "YUYV", "UYVY"], [LINEAR], ENCODE, most=1920), stride=16)
    everything = RGB8 + RGB10 + HALF + SMALL + YUV + ["BLOB"]
    write("cpu", "cpu", "CPU", rows(everything, [LINEAR], "cpu_read,cpu_write", kind="memfd")
          + rows(everything, [LINEAR], "cpu_read,cpu_write"))
    write("virgl_egl", "egl", "virgl", rows(RGB8 + ["XR30", "XB4H", "AB4H", "R8  ", "GR88", "RG16"], [INVALID], DRAW, most=16384),
          node="/dev/dri/renderD129")
    write("virtio_kms", "kms", "virtio_gpu", rows(["XR24", "AR24"], [LINEAR], SCANOUT, most=16384), node="/dev/dri/renderD129")


for vendor_tables in (intel, radeon, geforce, mali, adreno, raspberry, others):
    vendor_tables()

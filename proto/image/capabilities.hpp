// SPDX-License-Identifier: MIT
// Capabilities: what one participant can import, through one API of one device; Exports: what can be made there. A table is a
// value; it is stated to the broker once and named by the SHA-256 digest of its canonical form (proto/wire/digest.hpp).
#pragma once
#include "proto/image/image_desc.hpp"

#include <vector>

namespace dmb {

/// How a participant gets at the memory.
enum class Api : std::uint8_t {
    cpu = 1,       ///< mmap
    egl = 2,       ///< EGL_EXT_image_dma_buf_import(_modifiers)
    gl_memory = 3, ///< GL_EXT_memory_object_fd
    vulkan = 4,    ///< VkImportMemoryFdInfoKHR
    gbm = 5,       ///< gbm_bo_import
    kms = 6,       ///< a plane's IN_FORMATS
    v4l2 = 7,      ///< V4L2_MEMORY_DMABUF
    cuda = 8,      ///< cudaImportExternalMemory
    other = 9,     ///< stated by a program for something else
};
constexpr bool is_valid(Api a) { return a >= Api::cpu && a <= Api::other; }
std::string_view name(Api);

/// A GPU (or display or video engine) as a value, with the driver that speaks for it.
struct Device {
    DeviceId id;
    BoundedText<64> node;    ///< "/dev/dri/renderD128" where there is one; of system memory "/dev/udmabuf"
    BoundedText<64> driver;  ///< "radeonsi", "NVIDIA", "llvmpipe"; of a GBM exporter the kernel's ("virtio_gpu")
    BoundedText<96> version; ///< of the driver, in its own words
    bool software = false;   ///< draws with the CPU
    friend bool operator==(const Device&, const Device&) = default;
};
/// What a person calls it: driver and node, or whatever of that is known.
BoundedText<64> title(const Device&);
/// True when both surely mean one GPU and one driver: equal UUIDs, else equal nodes, else equal PCI addresses.
bool is_same(const DeviceId&, const DeviceId&);

/// What a layout must satisfy besides its modifier. Alignments in bytes, 0 and 1: any; they are for planes with rows, a
/// tiling brings its own, and those of opaque memory nobody reads.
struct LayoutRules {
    std::uint32_t stride_alignment = 0;
    std::uint32_t offset_alignment = 0;
    bool contiguous = false; ///< physically, as display and video engines without an IOMMU need it
    friend bool operator==(const LayoutRules&, const LayoutRules&) = default;
};
/// Satisfies both. Alignments beyond 1 MiB make it fail.
std::optional<LayoutRules> combine(const LayoutRules&, const LayoutRules&);
/// The first thing in `desc` that breaks a rule, as a sentence; empty when all is well.
BoundedText<160> broken_rule(const LayoutRules&, const ImageDesc&);

/// One row: this format in this layout can be imported, or made, and used so.
struct Capability {
    MemoryKind kind = MemoryKind::dma_buf;
    FourCC format;
    Modifier modifier;            ///< INVALID: the implicit layout of its own driver, and nothing else; opaque memory: INVALID
    std::uint8_t plane_count = 0; ///< memory planes with this modifier; 0: not known
    bool external_only = false;   ///< can be sampled through GL_TEXTURE_EXTERNAL_OES only
    Usage usage;                  ///< empty: not known
    Extent max_size;              ///< 0: not known
    friend bool operator==(const Capability&, const Capability&) = default;
};

struct Capabilities {
    Device device;
    Api api = Api::other;
    LayoutRules rules;
    std::vector<Capability> rows; ///< canonical: sorted by (kind, format, modifier), each of these once
    friend bool operator==(const Capabilities&, const Capabilities&) = default;
};
/// A device that images can come from, through one backend; or system memory.
struct Exporter : Device {
    Backend backend = Backend::memfd;
    BoundedText<96> name;     ///< what a person would call it
    BoundedText<160> problem; ///< why it cannot be used; empty when it works
    friend bool operator==(const Exporter&, const Exporter&) = default;
};
/// What one exporter can make: each row was allocated and exported once, not read from a list.
struct Exports {
    Exporter exporter;
    std::vector<Capability> rows; ///< in the driver's order
    friend bool operator==(const Exports&, const Exports&) = default;
};
/// The order of canonical tables.
bool comes_before(const Capability&, const Capability&);
/// Sorts; of rows that say the same twice, the union of usages, the smaller size and the stricter rest stay.
void make_canonical(Capabilities&);
bool is_canonical(const Capabilities&);
/// The row for this, or null. The table must be canonical.
const Capability* find_row(const Capabilities&, MemoryKind, FourCC, Modifier);

/// SHA-256 of a table's canonical form. Zero: no table.
using Digest = std::array<std::uint8_t, 32>;
std::string to_string(const Digest&); ///< 64 hexadecimal digits

} // namespace dmb

// SPDX-License-Identifier: MIT
// The small values an image description is made of. The words are those of docs/glossary.md.
#pragma once
#include "proto/base/bounded.hpp"
#include "proto/base/flags.hpp"
#include "proto/base/strong.hpp"

#include <array>
#include <optional>
#include <string>
#include <string_view>

namespace dmb {

struct Extent {
    std::uint32_t width = 0;  ///< pixels
    std::uint32_t height = 0; ///< pixels
    friend constexpr bool operator==(const Extent&, const Extent&) = default;
};

/// A format code of drm_fourcc.h.
struct FourCC {
    std::uint32_t value = 0;
    friend constexpr auto operator<=>(const FourCC&, const FourCC&) = default;
};
constexpr FourCC fourcc(const char (&word)[5])
{
    const auto byte = [&](int i) { return static_cast<std::uint32_t>(static_cast<unsigned char>(word[i])); };
    return {byte(0) | byte(1) << 8 | byte(2) << 16 | byte(3) << 24};
}
/// "XR24"; codes with unprintable bytes as "0x........".
std::string to_string(FourCC);
/// Reads "XR24", "R8" (padded with blanks) or "0x34325258".
std::optional<FourCC> parse_fourcc(std::string_view);

/// A DRM format modifier. INVALID means "implicit, known to the driver only" and is never read as LINEAR.
struct Modifier {
    std::uint64_t value = 0;
    friend constexpr auto operator<=>(const Modifier&, const Modifier&) = default;
};
inline constexpr Modifier modifier_linear{0};
inline constexpr Modifier modifier_invalid{0x00ff'ffff'ffff'ffff};
/// "LINEAR", "INVALID" or "0x0123456789abcdef".
std::string to_string(Modifier);
std::optional<Modifier> parse_modifier(std::string_view);

/// What the descriptor behind an image is.
enum class MemoryKind : std::uint8_t {
    dma_buf = 1,
    opaque = 2, ///< Vulkan OPAQUE_FD: only the same driver can import it
    memfd = 3,  ///< sealed system memory
};
constexpr bool is_valid(MemoryKind k) { return k >= MemoryKind::dma_buf && k <= MemoryKind::memfd; }
std::string_view name(MemoryKind);

/// Who allocated an image.
enum class Backend : std::uint8_t {
    memfd = 1,
    udmabuf = 2,
    dma_heap = 3,
    gbm = 4,
    vulkan = 5,        ///< Vulkan memory exported as dma-buf
    vulkan_opaque = 6, ///< Vulkan memory exported as OPAQUE_FD
    client = 7,        ///< registered by a client
};
constexpr bool is_valid(Backend b) { return b >= Backend::memfd && b <= Backend::client; }
std::string_view name(Backend);
std::optional<Backend> parse_backend(std::string_view);

/// How good the sharing is. Higher is better.
enum class Rung : std::uint8_t { copy = 1, blit = 2, system_dma_buf = 3, linear = 4, tiled = 5 };
constexpr bool is_valid(Rung r) { return r >= Rung::copy && r <= Rung::tiled; }
std::string_view name(Rung);
std::optional<Rung> parse_rung(std::string_view);

/// What a participant will do with an image.
enum class UsageFlag : std::uint32_t {
    cpu_read = 1,
    cpu_write = 2,
    sample = 4,
    render = 8,
    storage = 16,
    scanout = 32,
    encode = 64,
    all = 127,
};
using Usage = Flags<UsageFlag>;
constexpr Usage operator|(UsageFlag a, UsageFlag b) { return Usage(a) | Usage(b); }
inline constexpr Usage usage_cpu = UsageFlag::cpu_read | UsageFlag::cpu_write;
std::string to_string(Usage); ///< "sample,render"; "none" when empty
std::optional<Usage> parse_usage(std::string_view);

enum class Right : std::uint32_t {
    read = 1,
    write = 2,
    manage = 4, ///< revoke tokens, set the lease
    all = 7,
};
using Rights = Flags<Right>;
constexpr Rights operator|(Right a, Right b) { return Rights(a) | Rights(b); }
std::string to_string(Rights); ///< "read,write"; "none" when empty
std::optional<Rights> parse_rights(std::string_view);

/// A set of backends: bit (1 << backend). Empty means any.
struct BackendSet {
    std::uint32_t bits = 0;
    static constexpr std::uint32_t known = 0xfe;
    constexpr bool empty() const { return bits == 0; }
    constexpr bool has(Backend b) const { return (bits & (1u << static_cast<unsigned>(b))) != 0; }
    constexpr void add(Backend b) { bits |= 1u << static_cast<unsigned>(b); }
    friend constexpr bool operator==(const BackendSet&, const BackendSet&) = default;
};

/// How well a reader is kept from writing. The kernel cannot make GPU-importable memory read-only.
enum class Protection : std::uint8_t {
    none = 1,                 ///< the descriptor can write; only the holder's good will protects the pixels
    read_only_descriptor = 2, ///< the descriptor was opened O_RDONLY
};
constexpr bool is_valid(Protection p) { return p >= Protection::none && p <= Protection::read_only_descriptor; }
std::string_view name(Protection);

/// The unguessable name of an image. Whoever holds it may open the image; never log it.
struct Token {
    std::array<std::uint8_t, 16> bytes{};
    friend bool operator==(const Token&, const Token&) = default;
};
std::string to_string(const Token&); ///< 32 lower-case hexadecimal digits
std::optional<Token> parse_token(std::string_view);

using Uuid = std::array<std::uint8_t, 16>;
std::string to_string(const Uuid&);
std::optional<Uuid> parse_uuid(std::string_view);

/// One GPU as a value, enough to tell whether two participants mean the same one. Zero where unknown.
struct DeviceId {
    std::uint64_t render_node = 0; ///< dev_t of /dev/dri/renderD* (or card*, where there is no render node)
    Uuid device_uuid{};            ///< VkPhysicalDeviceIDProperties::deviceUUID
    Uuid driver_uuid{};            ///< VkPhysicalDeviceIDProperties::driverUUID
    std::uint32_t pci = 0;         ///< domain << 16 | bus << 8 | device << 3 | function
    friend bool operator==(const DeviceId&, const DeviceId&) = default;
};

} // namespace dmb

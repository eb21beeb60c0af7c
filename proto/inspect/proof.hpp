// SPDX-License-Identifier: MIT
// Proof: whether images of one exporter really work in one importer, found by trying (allocate, import, draw
// or sample, read back). Kept on disk across restarts; a driver update makes a new key.
#pragma once
#include "proto/image/capabilities.hpp"

namespace dmb {

enum class ProofResult : std::uint8_t {
    works = 1,
    refused = 2,      ///< the importer said no
    wrong_pixels = 3, ///< it said yes and showed something else
    crashed = 4,      ///< the process that tried it died
    hung = 5,         ///< it did not answer in time
    impossible = 6,   ///< nothing here can try it: no such device or API in the broker's reach
};
constexpr bool is_valid(ProofResult r) { return r >= ProofResult::works && r <= ProofResult::impossible; }
std::string_view name(ProofResult);

/// What one try came to.
struct Proven {
    ProofResult result = ProofResult::impossible;
    BoundedText<160> reason; ///< empty when it works
};

/// What a proof is about. Everything in it that changes makes it another proof.
struct ProofKey {
    Backend backend = Backend::memfd;
    BoundedText<160> exporter; ///< driver, its version and the device
    Api api = Api::other;
    BoundedText<160> importer; ///< the same of the importer
    FourCC format;
    Modifier modifier;
    Usage usage;
    std::uint8_t size_class = 0; ///< sides up to 64 << size_class pixels
    friend bool operator==(const ProofKey&, const ProofKey&) = default;
};

struct Proof {
    ProofKey key;
    ProofResult result = ProofResult::impossible;
    BoundedText<160> reason;   ///< empty when it works
    std::uint64_t cost_ns = 0; ///< what trying took
    std::uint32_t pitch = 0;   ///< of the image that was tried, bytes
    friend bool operator==(const Proof&, const Proof&) = default;
};

} // namespace dmb

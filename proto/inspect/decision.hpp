// SPDX-License-Identifier: MIT
// Decision: why a request got the image it got, or none. Made for every negotiation, kept for as long as the
// image lives (for failures: among the last ones), and shown by `dmabrokerctl why`.
#pragma once
#include "proto/image/capabilities.hpp"

#include <vector>

namespace dmb {

/// One negotiation in the broker; never reused.
using RequestId = Strong<struct RequestTag, std::uint64_t>;

/// What became of one way to serve a request.
enum class Verdict : std::uint8_t {
    chosen = 1,
    refused = 2, ///< could not serve it: the reason says what removed it
    failed = 3,  ///< was tried and failed
};
constexpr bool is_valid(Verdict v) { return v >= Verdict::chosen && v <= Verdict::failed; }
std::string_view name(Verdict);
struct Candidate {
    Backend backend = Backend::memfd;
    BoundedText<64> device; ///< node or name; empty for system memory
    Verdict verdict = Verdict::refused;
    BoundedText<160> reason;
    friend bool operator==(const Candidate&, const Candidate&) = default;
};

/// What a (backend, device, format, modifier) can fail by. In the order in which it is asked.
enum class Demand : std::uint8_t {
    backend = 1,   ///< the request names others
    device,        ///< the request names another; or memory that only its own driver can import
    format,        ///< not in the set
    modifier,      ///< not in the set
    memory_kind,   ///< dma_buf, opaque or memfd, which the importer does not take
    usage,         ///< not for that
    external_only, ///< only through GL_TEXTURE_EXTERNAL_OES, which the participant does not want
    size,          ///< too large
    rules,         ///< alignment, contiguity
    protection,    ///< protected memory
    rung,          ///< below the minimum
    proof,         ///< was tried and did not work
};
constexpr bool is_valid(Demand d) { return d >= Demand::backend && d <= Demand::proof; }
std::string_view name(Demand);

/// Whose demand removed a layout. An empty name: the request's own, or this machine's.
struct Removal {
    BoundedText<64> who;
    Demand demand = Demand::backend;
    Backend backend = Backend::memfd;
    FourCC format;
    Modifier modifier;
    BoundedText<160> reason;
    friend bool operator==(const Removal&, const Removal&) = default;
};

/// One participant's set, as far as it matters to the request.
struct PartyView {
    BoundedText<64> name;
    std::uint32_t pid = 0; ///< 0: not connected, only its table was named
    Api api = Api::other;
    BoundedText<64> device;
    std::uint32_t pair_count = 0;          ///< rows for the formats of the request; 0 with `any`: no table stated
    bool any = false;                      ///< no table: takes what its usage and demands allow
    BoundedVector<Modifier, 16> modifiers; ///< the first ones, of the request's first format
    BoundedText<160> wants;                ///< usage and demands, in words
    friend bool operator==(const PartyView&, const PartyView&) = default;
};

struct Decision {
    RequestId id;
    ImageId image; ///< 0: refused
    std::uint32_t pid = 0;
    BoundedText<64> label;
    std::uint64_t age_ns = 0;
    Extent size;
    std::vector<FourCC> formats; ///< acceptable to the request, best first
    Usage usage;                 ///< of all together
    BoundedText<240> outcome;    ///< one sentence: what was chosen, or why nothing
    Rung rung = Rung::copy;
    std::vector<PartyView> participants;
    std::vector<Modifier> common;          ///< layouts that everyone can import, before demands
    std::vector<Removal> removals;         ///< success: of what would have been better; failure: of what came nearest
    std::vector<BoundedText<64>> culprits; ///< failure: without these participants it would work
    BoundedText<240> nearest;              ///< failure: the smallest change that would work, and its result
    std::vector<Candidate> candidates;     ///< what became of each allocator
    friend bool operator==(const Decision&, const Decision&) = default;
};

} // namespace dmb

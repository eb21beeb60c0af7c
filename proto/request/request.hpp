// SPDX-License-Identifier: MIT
// What clients ask the broker for, as values: whoever decides works with these and knows no message. Messages carry
// them (proto/wire/messages.hpp); another version of the protocol would carry the same.
#pragma once
#include "proto/image/capabilities.hpp"
#include "proto/request/limits.hpp"

#include <vector>

namespace dmb {

using Name = BoundedText<limits::name_bytes>;

/// Random bytes that name a client to the next life of its broker; zero: none.
using ResumeKey = std::array<std::uint8_t, 16>;

/// What the image itself must be.
struct AllocateSpec {
    Extent size;
    FourCC format;
    BoundedVector<Modifier, limits::modifiers> modifiers; ///< acceptable ones, best first; empty: any
    Usage usage;
    BackendSet backends; ///< acceptable ones; empty: any
    Rung minimum_rung = Rung::copy;
    Colour colour;
    Name device; ///< node, name or UUID of the device it must come from; empty: any
    friend bool operator==(const AllocateSpec&, const AllocateSpec&) = default;
};

/// One who will use the image, as far as it decides what the image may be. Everything but the usage and
/// the preferences is hard.
struct Participant {
    Name name;
    Digest capabilities{}; ///< of a table stated by anybody; zero: none, whatever the demands below allow
    Usage usage;
    BoundedVector<FourCC, limits::formats> formats;       ///< acceptable ones, best first; empty: any
    BoundedVector<Modifier, limits::modifiers> modifiers; ///< acceptable ones, best first; empty: any
    Rung minimum_rung = Rung::copy;
    LayoutRules rules;             ///< beyond those of its table
    Extent max_size;               ///< 0: any
    bool no_external_only = false; ///< samples with sampler2D
    bool is_protected = false;     ///< needs memory that the CPU cannot read
    friend bool operator==(const Participant&, const Participant&) = default;
};

/// Images, all alike and all or none.
struct ImageRequest {
    AllocateSpec spec;
    std::uint16_t count = 1; ///< at most limits::pool_images, one with contents
    Name label;
    std::uint64_t lease_ns = 0;                          ///< 0: lives as long as somebody holds it; UINT64_MAX: until revoked
    BoundedVector<FourCC, limits::formats> alternatives; ///< formats as good as the spec's or nearly; none with contents
    std::vector<Participant> participants;               ///< at most limits::participants
    friend bool operator==(const ImageRequest&, const ImageRequest&) = default;
};

/// What a new token is to allow.
struct TokenTerms {
    Rights rights;
    bool one_shot = false;
    bool enforced = false;         ///< readers who could not be kept from writing are refused
    std::uint64_t lifetime_ns = 0; ///< 0: as long as the image
};

enum class ProofAction : std::uint8_t {
    clear = 1, ///< forget all: everything is tried again when it is next needed
    warm = 2,  ///< try whatever the devices here could share, in the background
};
constexpr bool is_valid(ProofAction a) { return a >= ProofAction::clear && a <= ProofAction::warm; }

} // namespace dmb

// SPDX-License-Identifier: MIT
// Every layout that somebody here could allocate for a request, and who of the participants cannot live
// with it, and by which demand. What negotiate() picks from and explains with.
#pragma once
#include "daemon/core/deciding/party.hpp"
#include "proto/inspect/decision.hpp"

#include <functional>
#include <span>
#include <vector>

namespace dmb {

/// One (device, backend) that might serve.
struct Offer {
    const Exporter* device = nullptr;
    std::span<const Capability> rows; ///< that it has proven
    std::uint8_t index = 0;           ///< of this device among those of its allocator
    std::size_t allocator = 0;        ///< position in the broker's list
};

/// Text when images of the offer were tried by that participant (null: when allocating them was) and did not work.
/// Modifier INVALID: when the choice was left to the driver.
using Disproof = std::function<BoundedText<160>(const Offer&, const Party*, FourCC, Modifier)>;

/// What negotiate() is asked. Everything is borrowed for the call.
struct Question {
    const AllocateSpec& spec;
    std::span<const FourCC> alternatives; ///< to the spec's format, best first
    std::span<const Party> parties;       ///< at most limits::participants
    std::span<const Offer> offers;
    const Disproof& disproof;
};

/// Who is meant by a blocker: 0 is the request itself, i + 1 the party i.
using Who = std::size_t;
/// A set of Demand.
using Demands = std::uint16_t;
constexpr Demands demand_bit(Demand d) { return static_cast<Demands>(1u << static_cast<unsigned>(d)); }
/// The one that is asked first, of a set that is not empty.
Demand first_of(Demands);

struct Layout {
    std::size_t offer = 0;
    const Capability* row = nullptr; ///< of the offer
    Rung rung = Rung::copy;
    std::uint32_t blockers = 0; ///< bit per Who
    std::uint32_t unable = 0;   ///< those of them whose driver, not only what they state, is in the way
    int demand_count = 0;       ///< that are broken, of all together
    bool is_common = true;      ///< everybody with a table has it in there, whatever else they demand
};

class Layouts {
public:
    explicit Layouts(const Question&);

    const std::vector<Layout>& all() const { return layouts_; }
    Demands demands(std::size_t layout, Who who) const { return demands_[layout * who_count_ + who]; }
    std::size_t who_count() const { return who_count_; }
    /// One more reason against a layout, found later; `stated`: dropping a demand would end it.
    void block(std::size_t layout, Who who, Demand demand, bool stated = false);

private:
    struct Asked; ///< a layout as its properties
    void collect(const Question&);
    std::vector<Asked> sorted(const Question&) const;
    void ask_request(const Question&, std::span<const Asked>);
    void ask_party(const Question&, Who who, std::span<const Asked>);

    std::size_t who_count_;
    std::vector<Layout> layouts_;
    std::vector<Demands> demands_;
};

bool is_system(Backend);
/// The best an image in this layout can be; the allocator tells what it became.
Rung best_rung(const Exporter&, FourCC, Modifier);
/// What the request itself rules out: another backend, another device.
Demands unwanted(const AllocateSpec&, const Exporter&);
/// What an allocator must make the image for. Another device brings its own proof that it can use the layout; that the
/// CPU can map it, and what this very device does with it, only the allocator can provide. `without`: bit per Who that
/// does not count.
Usage exporter_usage(const Question&, const Exporter&, std::uint32_t without = 0);
/// Its own and its table's; nothing when they contradict each other.
std::optional<LayoutRules> own_rules(const Party&);
/// All demands of one participant that an image with these properties breaks. For images that exist, too.
struct Properties {
    MemoryKind kind = MemoryKind::dma_buf;
    Backend backend = Backend::memfd;
    DeviceId device;
    FourCC format;
    Modifier modifier;
    Extent size;
    Rung rung = Rung::copy;
    Usage exporter_usage; ///< what it was or can be allocated for
};
Demands broken_demands(const Party&, const Properties&);

} // namespace dmb

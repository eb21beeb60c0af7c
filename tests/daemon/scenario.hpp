// SPDX-License-Identifier: MIT
// A situation for negotiate(): exporters and participants made from the recorded tables in tables/, and what was tried
// before. Everything that a Question borrows lives in here; a copy borrows the exporters of the original.
#pragma once
#include "daemon/core/deciding/negotiate.hpp"

#include <deque>
#include <string>
#include <vector>

namespace dmb::test {

/// tables/NAME.json, read once. Throws std::runtime_error.
TablePointer recorded(const std::string& name);
/// Of all that are there.
std::vector<std::string> recorded_names();

/// What an exporter is able to beyond what its table says.
struct Abilities {
    const char* scanout = ""; ///< table of the display that it can allocate for
    const char* encode = "";  ///< table of the video engine that it can allocate for
    bool cpu = false;         ///< LINEAR can be mapped
    bool implicit = false;    ///< INVALID is allocated too
};

/// What the memory of a backend is.
MemoryKind kind_of(Backend);

struct Situation {
    AllocateSpec spec{.size = {1920, 1080}, .format = fourcc("XR24")};
    std::vector<FourCC> alternatives;
    std::deque<Exporter> devices;
    std::deque<std::vector<Capability>> formats;
    std::vector<Offer> offers;
    std::vector<Party> parties;
    Disproof disproof;

    Situation() { parties.reserve(limits::participants); }
    /// An exporter that allocates what the table can import, the most special layouts first.
    Exporter& offer(Backend, const std::string& table, const Abilities& = {});
    /// System memory for every format.
    Exporter& offer(Backend);
    Exporter& offer(Backend, Exporter, std::vector<Capability>);
    /// A participant; without a table where `table` is empty. It accepts a copy.
    Participant& party(std::string_view name, const std::string& table, Usage);
    Participant& party(std::string_view name, TablePointer table, Usage);
    /// One that accepts no copy.
    Participant& strict(std::string_view name, const std::string& table, Usage);
    Plan negotiate() const;
    std::vector<std::string> names(const std::vector<Who>&) const;
};

} // namespace dmb::test

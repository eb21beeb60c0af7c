// SPDX-License-Identifier: MIT
// One function per command. Each writes its result to standard output and returns, or fails with the
// error that main turns into a sentence and an exit status.
#pragma once
#include "tools/dmabrokerctl/client.hpp"

#include <optional>
#include <vector>

namespace dmb::ctl {

Result<> devices(const Global&);
Result<> formats(const Global&);
Result<> list(const Global&);

struct Named {
    std::string name; ///< an image's id or a token
};
Result<> show(const Global&, const Named&);
Result<> revoke(const Global&, const Named&);

struct Subjects {
    std::string name; ///< an image's id, request:ID, or nothing: the last decision
};
Result<> why(const Global&, const Subjects&);
std::string decision_text(const Json& decision);
/// What became of each allocator, best first.
std::string candidates_text(const Json& decision);
/// Of this client's last allocation.
Result<Json> last_decision(dmabroker_client*);

struct ProofsOptions {
    bool clear = false;
    bool warm = false;
};
Result<> proofs(const Global&, const ProofsOptions&);

/// A participant of alloc: a recorded capability table, and what it will do.
struct ParticipantOption {
    std::string file; ///< JSON
    Usage usage;
    Rung minimum_rung = Rung::copy;
};

/// What alloc and put have in common.
struct Placement {
    std::string label;
    std::string device;
    BackendSet backends;
    std::optional<Usage> usage;
    std::optional<Rights> rights; ///< of the token
    std::uint64_t lease_ns = 600'000'000'000;
    bool one_shot = false;
    dmabroker_colour colour{}; ///< 0: what the file says, else the default of the format
};

struct AllocOptions {
    Extent size;
    FourCC format;
    std::vector<std::uint64_t> modifiers;
    std::vector<std::uint32_t> alternatives; ///< formats
    Rung minimum_rung = Rung::copy;
    std::vector<ParticipantOption> participants;
    Placement placement;
};
Result<> alloc(const Global&, const AllocOptions&);

struct PutOptions {
    std::string file;
    bool bytes = false; ///< as they are, not as a PNG file
    std::optional<FourCC> format;
    Placement placement;
};
Result<> put(const Global&, const PutOptions&);

struct GetOptions {
    std::string token;
    std::string file;
};
Result<> get(const Global&, const GetOptions&);

/// Fails when nothing on this machine can share an image.
Result<> doctor(const Global&);

// --- printing --------------------------------------------------------------------------------

void print(std::string_view text);
void print_json(const Json&);

} // namespace dmb::ctl

// SPDX-License-Identifier: MIT
// The broker's visible state as a value: what `dmabrokerctl list`, `show`, `devices`, `formats` and
// `proofs` show. Tokens
// are secrets and never part of it; only how many there are.
#pragma once
#include "proto/inspect/decision.hpp"
#include "proto/inspect/proof.hpp"

#include <vector>

namespace dmb {

struct HolderInfo {
    ClientId client;
    std::uint32_t handles = 0;
    Rights rights;
    friend bool operator==(const HolderInfo&, const HolderInfo&) = default;
};

/// What keeping a copy up to date costs.
struct CopyInfo {
    std::uint64_t count = 0;
    std::uint64_t last_ns = 0;  ///< what the last one took
    std::uint64_t total_ns = 0; ///< what all took
    friend bool operator==(const CopyInfo&, const CopyInfo&) = default;
};

struct ImageInfo {
    ImageId id;
    ClientId owner; ///< who is charged; 0 when only a lease keeps the image
    std::uint32_t owner_uid = 0;
    BoundedText<64> label;
    ImageDesc desc;
    std::vector<HolderInfo> holders;
    std::uint32_t tokens = 0;
    std::uint64_t lease_left_ns = 0; ///< 0: none; UINT64_MAX: for ever
    std::uint64_t age_ns = 0;
    RequestId request; ///< whose decision it came from; 0: registered
    ImageId source;    ///< it is a copy of that image, for participants who cannot import it; 0: it is not
    CopyInfo copying;  ///< of a copy
    friend bool operator==(const ImageInfo&, const ImageInfo&) = default;
};

struct ClientInfo {
    ClientId id;
    std::uint32_t pid = 0;
    std::uint32_t uid = 0;
    BoundedText<64> name;
    bool manager = false;
    std::uint64_t bytes = 0;  ///< charged to it
    std::uint32_t images = 0; ///< charged to it
    std::uint32_t fds = 0;    ///< held in the broker on its behalf
    friend bool operator==(const ClientInfo&, const ClientInfo&) = default;
};

struct PoolInfo {
    std::uint64_t bytes = 0;
    std::uint32_t images = 0;
    friend bool operator==(const PoolInfo&, const PoolInfo&) = default;
};

struct Snapshot {
    BoundedText<64> server; ///< "dmabrokerd 0.1.0"
    std::uint32_t pid = 0;
    std::uint64_t uptime_ns = 0;
    std::uint32_t open_fds = 0; ///< of the broker process
    PoolInfo pool;
    std::vector<ClientInfo> clients;
    std::vector<ImageInfo> images;
    std::vector<Exports> exports;
    std::vector<Proof> proofs;
    friend bool operator==(const Snapshot&, const Snapshot&) = default;
};

} // namespace dmb

// SPDX-License-Identifier: MIT
// What is known about who can really import whose images. A table; who fills it is trials.hpp.
#pragma once
#include "daemon/core/deciding/party.hpp"
#include "proto/inspect/snapshot.hpp"

#include <functional>
#include <unordered_map>

namespace dmb {

class Proofs {
public:
    explicit Proofs(std::vector<Proof> known = {});
    /// Called with every new result, and with null when all are forgotten: whoever keeps them on disk.
    void on_change(std::function<void(const Proof*)> changed) { changed_ = std::move(changed); }

    /// Null: never tried.
    const Proof* find(const ProofKey&) const;
    void add(const Proof&);
    void clear();
    bool empty() const { return proofs_.empty(); }
    /// In a fixed order.
    std::vector<Proof> all() const;

private:
    struct Hash {
        std::size_t operator()(const ProofKey&) const;
    };
    std::unordered_map<ProofKey, Proof, Hash> proofs_;
    std::function<void(const Proof*)> changed_;
};

/// Driver, version and device: what a result is good for.
BoundedText<160> identity(const Exporter&);
BoundedText<160> identity(const Device&);
/// Sides up to 64 pixels are class 0, up to 128 class 1; all beyond 256 are class 3.
std::uint8_t size_class(Extent);
/// The image with which a class is tried: a little smaller than its largest, so that rows are no multiple of 64
/// bytes by themselves, and an importer that wants them so is found out. Buffers: as many bytes as a square of that class has
/// pixels.
Extent trial_size(FourCC, std::uint8_t size_class);

/// Images of that exporter in that importer.
ProofKey pair_key(const Exporter& exporter, const Party& importer, FourCC, Modifier, Extent);
/// Allocating such images at all. Recorded when it went wrong.
ProofKey exporter_key(const Exporter& exporter, FourCC, Modifier, Extent);
/// Through its API and device something here can try it.
bool can_be_tried(const Party&);
/// A sentence when it did not work; empty when it did, or is not known.
/// `importer`: null for what is known of allocating them.
BoundedText<160> disproof(const Proofs&, const Exporter& exporter, const Party* importer, FourCC, Modifier, Extent);

} // namespace dmb

// SPDX-License-Identifier: MIT
// Proofs: a hash table of results by value, made in main() from the file and shared by everything that asks. A new
// driver version is another key, so an old result is never wrong, only unused. Results are forgotten by clear(), and
// when there are too many: then any one of them goes. Who finds them out is trials.cpp, who keeps them on disk is
// net/proof_file, told by on_change().
#include "daemon/core/proving/proofs.hpp"

#include <algorithm>
#include <bit>
#include <fmt/format.h>
#include <tuple>

namespace dmb {
namespace {

constexpr std::uint32_t smallest_side = 64;
constexpr std::uint8_t largest_class = 3;
/// Nobody has more pairs than this by honest means; beyond it any go, no matter which.
constexpr std::size_t most_proofs = 20'000;

BoundedText<160> identity(std::string_view driver, std::string_view version, std::string_view node, const DeviceId& id)
{
    std::string out(driver);
    if (!version.empty()) out += fmt::format(" {}", version);
    // Both: Mesa's software drivers have one UUID wherever they draw.
    if (!node.empty()) out += fmt::format(" {}", node);
    if (id.device_uuid != Uuid{}) out += fmt::format(" {}", to_string(id.device_uuid));
    return std::string_view(out);
}

auto fields(const ProofKey& k)
{
    return std::tuple(k.backend, k.exporter.view(), k.api, k.importer.view(), k.format, k.modifier, k.usage.bits, k.size_class);
}

} // namespace

Proofs::Proofs(std::vector<Proof> known)
{
    for (Proof& proof : known) proofs_.insert_or_assign(proof.key, proof);
}

std::size_t Proofs::Hash::operator()(const ProofKey& key) const
{
    std::size_t h =
        std::hash<std::string_view>{}(key.exporter.view()) ^ std::hash<std::string_view>{}(key.importer.view()) * 31;
    for (const std::uint64_t part : {std::uint64_t{key.format.value}, key.modifier.value, std::uint64_t{key.usage.bits},
                                     std::uint64_t{key.size_class}, static_cast<std::uint64_t>(key.api)})
        h = (h ^ part) * 0x9e3779b97f4a7c15, h ^= h >> 29;
    return h;
}

const Proof* Proofs::find(const ProofKey& key) const
{
    const auto found = proofs_.find(key);
    return found == proofs_.end() ? nullptr : &found->second;
}

void Proofs::add(const Proof& proof)
{
    if (proofs_.size() >= most_proofs) proofs_.erase(proofs_.begin());
    proofs_.insert_or_assign(proof.key, proof);
    if (changed_) changed_(&proof);
}

void Proofs::clear()
{
    proofs_.clear();
    if (changed_) changed_(nullptr);
}

std::vector<Proof> Proofs::all() const
{
    std::vector<Proof> out;
    for (const auto& [_, proof] : proofs_) out.push_back(proof);
    std::ranges::sort(out, {}, [](const Proof& p) { return fields(p.key); });
    return out;
}

BoundedText<160> identity(const Exporter& device)
{
    return identity(device.driver.empty() ? name(device.backend) : device.driver.view(), device.version.view(),
                    device.node.view(), device.id);
}

BoundedText<160> identity(const Device& device)
{
    return identity(device.driver.view(), device.version.view(), device.node.view(), device.id);
}

std::uint8_t size_class(Extent size)
{
    const std::uint32_t side = std::max(size.width, size.height);
    std::uint8_t out = 0;
    while (out < largest_class && side > smallest_side << out) ++out;
    return out;
}

Extent trial_size(FourCC format, std::uint8_t size_class)
{
    const std::uint32_t side = smallest_side << size_class;
    if (format == buffer_format) return {side * side, 1};
    return {side - 4, side - 4}; // whole samples of every subsampled plane
}

ProofKey pair_key(const Exporter& exporter, const Party& importer, FourCC format, Modifier modifier, Extent size)
{
    return {exporter.backend, identity(exporter), importer.table->api,    identity(importer.table->device),
            format,           modifier,           importer.demands.usage, size_class(size)};
}

ProofKey exporter_key(const Exporter& exporter, FourCC format, Modifier modifier, Extent size)
{
    return {exporter.backend, identity(exporter), Api::other, {}, format, modifier, {}, size_class(size)};
}

bool can_be_tried(const Party& party)
{
    if (!party.table) return false;
    switch (party.table->api) {
    case Api::cpu:
    case Api::egl:
    case Api::gl_memory:
    case Api::vulkan:
    case Api::gbm: return true;
    default: return false;
    }
}

BoundedText<160> disproof(const Proofs& proofs, const Exporter& exporter, const Party* importer, FourCC format,
                          Modifier modifier, Extent size)
{
    const auto sentence = [](const Proof* proof) -> BoundedText<160> {
        if (!proof || proof->result == ProofResult::works || proof->result == ProofResult::impossible) return {};
        return std::string_view(
            fmt::format("tried: {}{}{}", name(proof->result), proof->reason.empty() ? "" : ", ", proof->reason.view()));
    };
    const auto allocation = sentence(proofs.find(exporter_key(exporter, format, modifier, size)));
    if (!allocation.empty() || !importer || !can_be_tried(*importer)) return allocation;
    return sentence(proofs.find(pair_key(exporter, *importer, format, modifier, size)));
}

} // namespace dmb

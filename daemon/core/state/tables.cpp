// SPDX-License-Identifier: MIT
// Entries of tables that are gone are swept when the map has doubled. Who pays lies beside the table, in the memory
// that all its pointers share; pointers may outlive the broker, so the accounts are shared, too.
#include "daemon/core/state/tables.hpp"

#include <algorithm>
#include <cstring>

namespace dmb {
namespace {

Result<> check_part(const PartialTable& stated, const wire::DefineCapabilities& part)
{
    if (part.row_count > limits::capability_rows)
        return fail(Errc::invalid_argument,
                    "a capability table has at most {} rows, this one {}; state only the formats you use",
                    limits::capability_rows, part.row_count);
    if (part.part.rows.size() > limits::capability_part)
        return fail(Errc::invalid_argument, "a part has at most {} rows, this one {}", limits::capability_part,
                    part.part.rows.size());
    const std::size_t sum = stated.table.rows.size() + part.part.rows.size();
    const bool whole = sum == part.row_count;
    if (sum > part.row_count || whole != part.last || (!part.last && part.part.rows.empty()))
        return fail(Errc::invalid_argument, "{} rows came of the {} that were announced", sum, part.row_count);
    const Device& device = part.part.device;
    if (!is_printable(device.node) || !is_printable(device.driver) || !is_printable(device.version))
        return fail(Errc::invalid_argument, "names of devices must be printable UTF-8 without control characters");
    return {};
}

} // namespace

std::size_t DigestHash::operator()(const Digest& digest) const
{
    std::size_t out = 0;
    std::memcpy(&out, digest.data(), sizeof out);
    return out;
}

Amount cost_of_table(std::size_t rows) { return {.bytes = sizeof(Capabilities) + rows * sizeof(Capability)}; }

Tables::Kept::~Kept()
{
    if (accounts) accounts->give_back(payer, cost_of_table(table.rows.size()));
}

TablePointer Tables::find(const Digest& digest) const
{
    const auto found = tables_.find(digest);
    const auto kept = found == tables_.end() ? nullptr : found->second.lock();
    return kept ? TablePointer(kept, &kept->table) : nullptr;
}

Payer Tables::payer(const Digest& digest) const { return tables_.at(digest).lock()->payer; }

TablePointer Tables::add(const Digest& digest, Capabilities table, const Payer& payer)
{
    if (tables_.size() >= purge_at_) {
        std::erase_if(tables_, [](const auto& entry) { return entry.second.expired(); });
        purge_at_ = 2 * tables_.size() + 64;
    }
    const auto kept = std::make_shared<const Kept>(std::move(table), payer, accounts_);
    tables_[digest] = kept;
    return {kept, &kept->table};
}

std::vector<Digest> Tables::all() const
{
    std::vector<Digest> out;
    for (const auto& [digest, kept] : tables_)
        if (!kept.expired()) out.push_back(digest);
    std::ranges::sort(out);
    return out;
}

Result<> add_part(PartialTable& stated, const wire::DefineCapabilities& part)
{
    if (stated.expected_rows != 0 && stated.expected_rows != part.row_count) stated.table.rows.clear();
    if (const auto good = check_part(stated, part); !good) {
        stated = {};
        return good;
    }
    if (stated.table.rows.empty()) {
        stated.table.device = part.part.device;
        stated.table.api = part.part.api;
        stated.table.rules = part.part.rules;
    }
    stated.expected_rows = part.row_count;
    stated.table.rows.insert(stated.table.rows.end(), part.part.rows.begin(), part.part.rows.end());
    return {};
}

} // namespace dmb

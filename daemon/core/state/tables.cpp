// SPDX-License-Identifier: MIT
// Entries of tables that are gone are swept when the map has doubled. The charge lies beside the table, in the memory
// that all its pointers share.
#include "daemon/core/state/tables.hpp"

#include <cstring>

namespace dmb {
namespace {

struct Kept {
    Capabilities table;
    Charge charge;
};

Result<> check_part(const StatedTables& stated, const wire::DefineCapabilities& part)
{
    if (part.row_count > limits::capability_rows)
        return fail(Errc::invalid_argument,
                    "a capability table has at most {} rows, this one {}; state only the formats you use",
                    limits::capability_rows, part.row_count);
    if (part.part.rows.size() > limits::capability_part)
        return fail(Errc::invalid_argument, "a part has at most {} rows, this one {}", limits::capability_part,
                    part.part.rows.size());
    const std::size_t sum = stated.partial.rows.size() + part.part.rows.size();
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

TablePointer Tables::find(const Digest& digest) const
{
    const auto found = tables_.find(digest);
    return found == tables_.end() ? nullptr : found->second.lock();
}

Amount cost_of_table(std::size_t rows) { return {.bytes = sizeof(Capabilities) + rows * sizeof(Capability)}; }

TablePointer Tables::add(const Digest& digest, Capabilities table, Charge charge)
{
    if (tables_.size() >= purge_at_) {
        std::erase_if(tables_, [](const auto& entry) { return entry.second.expired(); });
        purge_at_ = 2 * tables_.size() + 64;
    }
    auto kept = std::make_shared<const Kept>(std::move(table), std::move(charge));
    TablePointer out(kept, &kept->table);
    tables_[digest] = out;
    return out;
}

Result<> add_part(StatedTables& stated, const wire::DefineCapabilities& part)
{
    if (stated.expected_rows != 0 && stated.expected_rows != part.row_count) stated.partial.rows.clear();
    if (const auto good = check_part(stated, part); !good) {
        stated.partial = {};
        stated.partial_charge = {};
        stated.expected_rows = 0;
        return good;
    }
    if (stated.partial.rows.empty()) {
        stated.partial.device = part.part.device;
        stated.partial.api = part.part.api;
        stated.partial.rules = part.part.rules;
    }
    stated.expected_rows = part.row_count;
    stated.partial.rows.insert(stated.partial.rows.end(), part.part.rows.begin(), part.part.rows.end());
    return {};
}

} // namespace dmb

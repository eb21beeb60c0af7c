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
    if (part.size == 0 || part.size > limits::table_bytes)
        return fail(Errc::invalid_argument, "a capability table has 1 to {} bytes, this one {}; state only the formats you use",
                    limits::table_bytes, part.size);
    const bool follows = part.offset == stated.partial.size() && part.size == stated.size && part.digest == stated.digest;
    if (!follows || part.bytes.empty() || part.bytes.size() > part.size - part.offset)
        return fail(Errc::invalid_argument, "{} bytes at {} of {}: a part must follow the one before it; {} bytes are here",
                    part.bytes.size(), part.offset, part.size, stated.partial.size());
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
    if (part.offset == 0) {
        stated.partial.clear();
        stated.digest = part.digest;
        stated.size = part.size;
    }
    if (const auto good = check_part(stated, part); !good) {
        stated.partial = {};
        stated.partial_charge = {};
        stated.size = 0;
        return good;
    }
    stated.partial.insert(stated.partial.end(), part.bytes.begin(), part.bytes.end());
    return {};
}

} // namespace dmb

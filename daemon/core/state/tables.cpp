// SPDX-License-Identifier: MIT
// Tables, a member of State. It has only weak pointers: a table lives as long as somebody refers to it, and entries of
// tables that are gone are swept when the map has doubled. Who pays lies beside the table, in the memory that all its
// pointers share; pointers may outlive the broker, so the accounts are shared, too.
#include "daemon/core/state/tables.hpp"

#include <algorithm>
#include <cstring>

namespace dmb {
namespace {

Result<> check_part(const PartialTable& stated, const TablePart& part)
{
    if (part.size == 0 || part.size > limits::table_bytes)
        return fail(Errc::invalid_argument, "a capability table has 1 to {} bytes, this one {}; state only the formats you use",
                    limits::table_bytes, part.size);
    const bool follows = part.offset == stated.bytes.size() && part.size == stated.size && part.digest == stated.digest;
    if (!follows || part.bytes.empty() || part.bytes.size() > part.size - part.offset)
        return fail(Errc::invalid_argument, "{} bytes at {} of {}: a part must follow the one before it; {} bytes are here",
                    part.bytes.size(), part.offset, part.size, stated.bytes.size());
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

Result<> add_part(PartialTable& stated, const TablePart& part)
{
    if (part.offset == 0) stated = {part.digest, part.size, {}};
    TRY(check_part(stated, part));
    stated.bytes.insert(stated.bytes.end(), part.bytes.begin(), part.bytes.end());
    return {};
}

} // namespace dmb

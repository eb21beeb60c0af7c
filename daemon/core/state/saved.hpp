// SPDX-License-Identifier: MIT
// A whole State as one value, without its descriptors: what goes to the next broker. fields() lists the fields of every
// record by name; a visitor is called with name and value of each, and does with it what it likes.
#pragma once
#include "daemon/core/state/records.hpp"

namespace dmb {

struct SavedTable {
    Digest digest{};
    Capabilities table;
    Payer payer;
};

struct SavedDecision {
    Decision decision;
    ClientId asker;
    Instant made;
};

struct Saved {
    std::uint64_t last_client = 0;
    std::uint64_t last_image = 0;
    std::uint64_t last_decision = 0;
    std::uint64_t last_lineage = 0;
    std::vector<SavedTable> tables;
    std::vector<ClientState> clients;
    std::vector<Lineage> lineages;
    std::vector<ImageState> images;
    std::vector<Hold> holds;
    std::vector<TokenRecord> tokens;
    std::vector<EndedToken> ended_tokens; ///< oldest first
    std::vector<Operation> operations;
    std::vector<SavedDecision> decisions; ///< oldest first
};

#define FIELD(member) a(#member, v.member)

template <class A> void fields(A& a, Payer& v) { FIELD(client), FIELD(user); }
template <class A> void fields(A& a, Peer& v) { FIELD(pid), FIELD(uid), FIELD(unmapped), FIELD(may_reopen); }
template <class A> void fields(A& a, ObjectId& v) { FIELD(kind), FIELD(id); }
template <class A> void fields(A& a, SavedTable& v) { FIELD(digest), FIELD(table), FIELD(payer); }
template <class A> void fields(A& a, PartialTable& v) { FIELD(digest), FIELD(size), FIELD(bytes); }
template <class A> void fields(A& a, Answer& v)
{
    FIELD(serial), FIELD(fingerprint), FIELD(kind), FIELD(first), FIELD(number), FIELD(contents_written), FIELD(token),
        FIELD(rights), FIELD(code), FIELD(reason), FIELD(request);
}
template <class A> void fields(A& a, ClientState& v)
{
    FIELD(id), FIELD(peer), FIELD(name), FIELD(manager), FIELD(last_handle), FIELD(wrong_tokens), FIELD(resume_key),
        FIELD(last_serial), FIELD(last_channel_serial), FIELD(answers), FIELD(tables), FIELD(partial);
}
template <class A> void fields(A& a, Lineage& v) { FIELD(id), FIELD(parent), FIELD(depth), FIELD(revoked); }
/// The table is found by `demands.capabilities`.
template <class A> void fields(A& a, Party& v) { FIELD(demands), FIELD(pid), FIELD(client); }
/// Of images, which have a format.
template <class A> void fields(A& a, Wish& v) { FIELD(spec), FIELD(parties); }
template <class A> void fields(A& a, MemoryKey& v) { FIELD(mount), FIELD(inode); }
template <class A> void fields(A& a, CopyState& v) { FIELD(source), FIELD(info), FIELD(memory_rung); }
template <class A> void fields(A& a, ImageState& v)
{
    FIELD(id), FIELD(owner), FIELD(owner_uid), FIELD(desc), FIELD(keys), FIELD(has_keeper), FIELD(has_read_only), FIELD(label),
        FIELD(created), FIELD(lease_end), FIELD(revoked), FIELD(was_shared), FIELD(may_reopen), FIELD(decision), FIELD(wanted),
        FIELD(successor), FIELD(copy);
}
template <class A> void fields(A& a, Hold& v)
{
    FIELD(client), FIELD(handle), FIELD(object), FIELD(rights), FIELD(origin), FIELD(usage), FIELD(enforced), FIELD(read_only),
        FIELD(said), FIELD(party);
}
template <class A> void fields(A& a, TokenRecord& v)
{
    FIELD(token), FIELD(lineage), FIELD(object), FIELD(rights), FIELD(one_shot), FIELD(enforced), FIELD(expires), FIELD(payer);
}
template <class A> void fields(A& a, EndedToken& v) { FIELD(token), FIELD(lineage), FIELD(object), FIELD(why); }
template <class A> void fields(A& a, OperationId& v) { FIELD(client), FIELD(serial); }
template <class A> void fields(A& a, Operation& v) { FIELD(id), FIELD(fingerprint), FIELD(kind); }
template <class A> void fields(A& a, SavedDecision& v) { FIELD(decision), FIELD(asker), FIELD(made); }
template <class A> void fields(A& a, Saved& v)
{
    FIELD(last_client), FIELD(last_image), FIELD(last_decision), FIELD(last_lineage), FIELD(tables), FIELD(clients),
        FIELD(lineages), FIELD(images), FIELD(holds), FIELD(tokens), FIELD(ended_tokens), FIELD(operations), FIELD(decisions);
}

#undef FIELD

} // namespace dmb

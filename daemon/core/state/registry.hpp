// SPDX-License-Identifier: MIT
// The images and who holds them. Plain records: the rules are in broker.cpp.
#pragma once
#include "daemon/core/deciding/decisions.hpp"
#include "daemon/core/serving/copying.hpp"
#include "daemon/core/state/tables.hpp"
#include "daemon/core/state/token_table.hpp"
#include "daemon/policy/peer.hpp"
#include "daemon/policy/quota.hpp"
#include "proto/wire/messages.hpp"

#include <memory>
#include <unordered_map>
#include <vector>

namespace dmb {

/// One client's hold on one image. Its address stays: the image lists its holds.
struct Hold {
    HandleId handle;
    ClientId client;
    ImageId image;
    Rights rights;
    LineagePointer origin;              ///< of the token it was opened with; null: made by this client
    Usage usage;                        ///< what the holder said it does with it
    bool enforced = false;              ///< the token wants it kept from writing
    std::size_t position = 0;           ///< in ImageRecord::holds
    std::shared_ptr<const Party> party; ///< what the holder said of itself; null: nothing; client 0: in its request
};

/// An image that was made because somebody could not import another one.
struct CopyRecord {
    ImageId source; ///< 0: it is no copy
    CopyRoute route;
    CopyInfo info;
    Rung memory_rung = Rung::copy; ///< of its memory, whoever uses it next
};

struct ImageRecord {
    ImageId id;
    ClientId owner; ///< who made it; may be gone
    std::uint32_t owner_uid = 0;
    Charge charge;
    Allocated memory;
    UniqueFd read_only; ///< memfd of the broker: the descriptor for readers, opened when first needed
    wire::Name label;
    Instant created;
    Instant lease_end; ///< Instant{}: none
    bool revoked = false;
    bool was_shared = false; ///< a client other than the owner opened it
    bool may_reopen = false; ///< somebody who had it may open it anew without a descriptor (Peer::may_reopen)
    std::vector<Hold*> holds;
    std::vector<Token> tokens; ///< those alive
    DecisionPointer decision;  ///< null: registered
    ImageId successor;         ///< which everybody who joined can import; 0: none
    CopyRecord copy;

    bool has_lease(Instant now) const { return lease_end > now; }
};

struct ClientRecord {
    ClientId id;
    Peer peer;
    wire::Name name;
    bool manager = false;
    std::shared_ptr<Account> account;
    std::shared_ptr<Account> uid_account;
    std::uint32_t last_handle = 0;
    std::uint32_t wrong_tokens = 0;
    StatedTables stated;
    std::unordered_map<HandleId, Hold> holds;
};

/// Which memory is already known, and to whom, so that nobody registers what another put here.
class MemoryIndex {
public:
    /// True when `client` may register it: unknown, or registered by the same client before.
    bool may_register(const MemoryKeys&, ClientId) const;
    void add(const MemoryKeys&, ClientId registered_by);
    void remove(const MemoryKeys&);

private:
    struct Entry {
        ClientId client; ///< 0: the broker's own
        std::uint32_t images = 0;
    };
    std::unordered_map<MemoryKey, Entry> entries_;
};

} // namespace dmb

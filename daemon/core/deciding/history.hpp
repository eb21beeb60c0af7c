// SPDX-License-Identifier: MIT
// The record of negotiations: what `why` shows. Kept as found, put into words when somebody asks.
#pragma once
#include "daemon/core/deciding/negotiate.hpp"
#include "proto/base/instant.hpp"

#include <deque>
#include <memory>
#include <optional>

namespace dmb {

struct DecisionRecord {
    RequestId id;
    ClientId asker;
    std::uint32_t pid = 0; ///< of the asker
    Name label;
    Instant made;
    Wish wish;
    std::shared_ptr<const Plan> plan; ///< null: it did not come to that, see `note`
    std::vector<Candidate> candidates;
    ImageId image; ///< the first that was made; 0: refused
    std::optional<ImageDesc> memory;
    BoundedText<240> note;        ///< instead of, or besides, what the plan says
    std::optional<Decision> told; ///< of an earlier life of the broker: in words already
};
using DecisionPointer = std::shared_ptr<const DecisionRecord>;

/// The last ones, oldest first; an image keeps its own beyond that.
class History {
public:
    void add(DecisionPointer);
    /// Null: not among the last ones.
    DecisionPointer find(RequestId) const;
    const std::deque<DecisionPointer>& all() const { return last_ones_; }

private:
    std::deque<DecisionPointer> last_ones_;
};

Decision describe(const DecisionRecord&, Instant now);
/// The one line for the log.
std::string summary(const Decision&);

} // namespace dmb

// SPDX-License-Identifier: MIT
// Receivers, made by main(): one ReceiverProcess per user whose clients asked for a channel, so that what one user's
// clients send can hang only that user's. An entry stays until its process has died, so that a user cannot leave
// processes behind that nobody counts. The nearest deadline of all is kept as a lower bound; a look too early costs
// nothing.
#include "daemon/net/receivers.hpp"

#include <algorithm>

namespace dmb {

Result<ChannelEnds> Receivers::open(std::uint64_t user, ClientId client, Instant now)
{
    std::unique_ptr<ReceiverProcess>& process = processes_[user];
    if (!process) process = std::make_unique<ReceiverProcess>(io_, server_, program_, most_channels_, nearest_);
    return process->open(client, now);
}

void Receivers::child_changed(Instant now)
{
    for (const auto& [_, process] : processes_) process->child_changed(now);
    forget_idle(now);
}

void Receivers::expire(Instant now)
{
    if (nearest_ > now) return;
    for (const auto& [_, process] : processes_) process->expire(now);
    forget_idle(now);
    nearest_ = never;
    for (const auto& [_, process] : processes_) nearest_ = std::min(nearest_, process->deadline());
}

void Receivers::forget_idle(Instant now)
{
    std::erase_if(processes_, [now](const auto& entry) { return entry.second->is_idle(now); });
}

} // namespace dmb

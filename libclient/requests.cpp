// SPDX-License-Identifier: MIT
// Requests, a member of Connection: sixteen places, searched one by one: nearly always the first is the only one in
// use, and its packet's memory is reused for every request. A place is free when neither its request nor the cancel for
// it is outstanding. What is sent, and when, is Connection's.
#include "libclient/requests.hpp"

#include <algorithm>

namespace dmb {

Result<Slot> Requests::find_free() const
{
    for (Slot slot = 0; slot < all_.size(); ++slot)
        if (all_[slot].is_free()) return slot;
    return fail(Errc::too_many_requests,
                "{} requests are unanswered, more are not possible; wait for a completion or cancel one", all_.size());
}

std::optional<Slot> Requests::find(std::uint64_t serial) const
{
    for (Slot slot = 0; slot < all_.size(); ++slot)
        if (all_[slot].serial == serial) return slot;
    return std::nullopt;
}

bool Requests::take_cancel_answer(std::uint64_t serial)
{
    const auto found = std::ranges::find(all_, serial, &Request::cancel);
    if (found == all_.end()) return false;
    found->cancel = 0;
    return true;
}

std::vector<Slot> Requests::in_order() const
{
    std::vector<Slot> slots;
    for (Slot slot = 0; slot < all_.size(); ++slot)
        if (all_[slot].serial != 0) slots.push_back(slot);
    std::ranges::sort(slots, {}, [&](Slot slot) { return all_[slot].serial; });
    return slots;
}

void Requests::forget(Slot slot)
{
    Request& request = all_[slot];
    request.serial = request.cancel = 0;
    request.given_up = request.cancel_due = request.waiting = false;
    request.fds.clear();
}

void Requests::forget_all()
{
    for (Slot slot = 0; slot < all_.size(); ++slot) forget(slot);
}

} // namespace dmb

// SPDX-License-Identifier: MIT
// What people type to mean an image: its number in `list`, or a token.
#pragma once
#include "proto/base/result.hpp"

#include <cstdint>
#include <string>

namespace dmb::ctl {

struct Name {
    std::uint64_t id = 0; ///< 0: a token was given
    std::string token;
};
/// not_found for what can be neither.
Result<Name> parse_name(const std::string& word);

} // namespace dmb::ctl

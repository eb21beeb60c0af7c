// SPDX-License-Identifier: MIT
// What people type to mean an image, read without asking the broker: 32 hexadecimal digits are a token even when all of
// them are decimal, because no id has that many. Whether there is such an image is for the command to find out; what
// can be neither is not_found, like any other that names nothing.
#include "tools/dmabrokerctl/names.hpp"

#include "proto/image/types.hpp"

#include <charconv>

namespace dmb::ctl {

Result<Name> parse_name(const std::string& word)
{
    if (parse_token(word)) return Name{0, word};
    Name name;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), name.id);
    if (error == std::errc{} && end == word.data() + word.size() && name.id != 0) return name;
    return fail(Errc::not_found,
                "no image has this name: an id is a number from `dmabrokerctl list`, a token 32 hexadecimal digits");
}

} // namespace dmb::ctl

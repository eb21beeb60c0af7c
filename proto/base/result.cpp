// SPDX-License-Identifier: MIT
// The parts of an Error that need not be in every file that makes one. An Error owns its sentence, so it can be kept
// and passed on; what a system call failed with becomes text here and is never matched on. In builds for debugging it
// also says where it was born.
#include "proto/base/result.hpp"

#include "proto/base/log.hpp"

#include <system_error>

namespace dmb {

#ifdef DMB_BIRTHPLACES
void note_birth(const Error& error, const Birthplace& place)
{
    log::debug("{} at {}:{}: {}", name(error.code), place.file_name(), place.line(), error.reason.view());
}
#endif

std::unexpected<Error> fail_errno(Errc code, std::string_view operation, int error_number, Birthplace place)
{
    const std::string reason = fmt::format("{}: {}", operation, std::generic_category().message(error_number));
    const Error error{code, std::string_view(reason)};
    note_birth(error, place);
    return std::unexpected(error);
}

} // namespace dmb

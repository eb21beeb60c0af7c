// SPDX-License-Identifier: MIT
// The wall between Result and exceptions inside, and errno and text outside: what guard() calls. Nothing here throws,
// allocates or touches errno. A caller without a dmabroker_error gets the number alone. The numbers are those of
// proto/base/errc.cpp.
#include "libclient/error.hpp"

#include <new>

namespace dmb {

int report(const Error& error, dmabroker_error* out)
{
    if (out) {
        out->code = static_cast<int>(error.code);
        const std::string_view text = error.reason.view();
        static_assert(sizeof out->text > BoundedText<240>::max_size());
        text.copy(out->text, text.size());
        out->text[text.size()] = '\0';
    }
    return negative_errno(error.code);
}

int report_current_exception(dmabroker_error* out)
{
    try {
        throw;
    } catch (const std::bad_alloc&) {
        return report({Errc::out_of_memory, "out of memory in the library"}, out);
    } catch (const std::exception& e) {
        return report({Errc::internal, e.what()}, out);
    } catch (...) {
        return report({Errc::internal, "an unknown exception inside the library"}, out);
    }
}

} // namespace dmb

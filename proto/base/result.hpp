// SPDX-License-Identifier: MIT
// Result<T>: a value or an Error. An Error carries a code from the closed list and one sentence that
// says what to do; it never allocates. `TRY(expression)` returns the error to the caller.
#pragma once
#include "proto/base/bounded.hpp"
#include "proto/base/errc.hpp"

#include <expected>
#include <fmt/core.h>
#ifdef DMB_BIRTHPLACES
#include <source_location>
#endif
#include <type_traits>
#include <utility>

namespace dmb {

struct Error {
    Errc code = Errc::internal;
    BoundedText<240> reason; ///< one sentence, printable, for the person who has to mend it
};

template <class T = void> using Result = std::expected<T, Error>;

#ifdef DMB_BIRTHPLACES // meson setup --buildtype=debug: the log has a line for each error, at level debug
using Birthplace = std::source_location;
void note_birth(const Error&, const Birthplace&);
#else
struct Birthplace {
    static constexpr Birthplace current() { return {}; }
};
constexpr void note_birth(const Error&, Birthplace) {}
#endif

/// What fail() says, and where that stands.
template <class... Args> struct Sentence {
    fmt::format_string<Args...> format;
    [[no_unique_address]] Birthplace place;
    template <class Text>
    consteval Sentence(const Text& text, Birthplace here = Birthplace::current()) : format(text), place(here)
    {
    }
};

/// return fail(Errc::bad_layout, "plane {}: stride {} is below {} bytes", ...);
template <class... Args>
std::unexpected<Error> fail(Errc code, Sentence<std::type_identity_t<Args>...> sentence, Args&&... args)
{
    Error error;
    error.code = code;
    const auto out =
        fmt::format_to_n(error.reason.data(), error.reason.max_size(), sentence.format, std::forward<Args>(args)...);
    const std::size_t size = std::min(out.size, error.reason.max_size());
    error.reason.set_size(size == out.size ? size : whole_characters({error.reason.data(), size}));
    note_birth(error, sentence.place);
    return std::unexpected(error);
}

/// For a system call that failed: the operation and the text of errno, as `code`.
std::unexpected<Error> fail_errno(Errc code, std::string_view operation, int error_number, Birthplace = Birthplace::current());

namespace detail {
template <class T> T take(std::expected<T, Error>&& result)
{
    if constexpr (!std::is_void_v<T>) return std::move(*result);
}
} // namespace detail

} // namespace dmb

// A statement expression: g++ and clang have it, and it is what makes early returns readable.
#define TRY(expression)                                                                                                        \
    __extension__({                                                                                                            \
        auto try_result_ = (expression);                                                                                       \
        if (!try_result_) return std::unexpected(std::move(try_result_).error());                                              \
        ::dmb::detail::take(std::move(try_result_));                                                                           \
    })

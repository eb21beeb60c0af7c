// SPDX-License-Identifier: MIT
// The one object with fmt's own code, so that nothing here needs libfmt.so: libdmabroker.so must run with whatever fmt, or
// none, the program around it has. Debian has no libfmt.a, and FMT_HEADER_ONLY everywhere would cost seconds for every
// file. What fmt's headers expect to find elsewhere is instantiated below; the linker names what a later fmt adds.
#include <fmt/format-inl.h>

template auto fmt::detail::dragonbox::to_decimal(float) noexcept -> decimal_fp<float>;
template auto fmt::detail::dragonbox::to_decimal(double) noexcept -> decimal_fp<double>;
template auto fmt::detail::thousands_sep_impl(locale_ref) -> thousands_sep_result<char>;
template auto fmt::detail::decimal_point_impl(locale_ref) -> char;
template void fmt::detail::vformat_to(buffer<char>&, string_view, basic_format_args<format_context>, locale_ref);

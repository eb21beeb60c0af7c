// SPDX-License-Identifier: MIT
// The parser of a KMS plane's IN_FORMATS, for kms_capabilities.cpp; a pure function of the blob's bytes. The blob is a
// header, an array of formats, and an array of modifiers with a mask each: bit i stands for format offset + i. So a
// modifier with more than 64 formats is there several times. A bit without a format is passed over; an array that
// points past the end is an error.
#include "libclient/import/in_formats.hpp"

#include "proto/base/checked.hpp"

#include <cstring>
#include <drm_mode.h>

namespace dmb::import {
namespace {

template <class T> Result<std::vector<T>> read_array(std::span<const std::byte> blob, std::uint64_t offset, std::uint64_t count)
{
    if (!(Checked(offset) + Checked(count) * sizeof(T)).fits_in(blob.size()))
        return fail(Errc::import_failed, "the plane's IN_FORMATS has {} bytes and points past its end", blob.size());
    std::vector<T> out(count);
    if (count) std::memcpy(out.data(), blob.data() + offset, count * sizeof(T));
    return out;
}

} // namespace

Result<std::vector<ListedFormat>> parse_in_formats(std::span<const std::byte> blob)
{
    const auto header = TRY(read_array<drm_format_modifier_blob>(blob, 0, 1))[0];
    if (header.version != FORMAT_BLOB_CURRENT)
        return fail(Errc::unsupported, "the plane's IN_FORMATS has version {}, known is {}", header.version,
                    FORMAT_BLOB_CURRENT);
    const auto formats = TRY(read_array<std::uint32_t>(blob, header.formats_offset, header.count_formats));
    const auto modifiers = TRY(read_array<drm_format_modifier>(blob, header.modifiers_offset, header.count_modifiers));
    std::vector<ListedFormat> out;
    for (const drm_format_modifier& one : modifiers)
        for (std::size_t bit = 0; bit < 64; ++bit) {
            const std::size_t at = bit + one.offset;
            if ((one.formats >> bit & 1) && at < formats.size()) out.push_back({{formats[at]}, {one.modifier}});
        }
    return out;
}

} // namespace dmb::import

// SPDX-License-Identifier: MIT
// The JSON form of descriptions and snapshots: the same fields as on the wire, with words for enums,
// flags, formats and modifiers. For tools, golden files and other languages.
#pragma once
#include "proto/wire/messages.hpp"

#include <string>
#include <string_view>

namespace dmb::wire {

std::string to_json(const ImageDesc&);
std::string to_json(const Snapshot&);
std::string to_json(const Decision&);
std::string to_json(const Capabilities&);
/// On one line.
std::string to_json(const Proof&);

/// The reverse of to_json(ImageDesc). Unknown words and missing fields are errors; the result is as
/// untrusted as one from a packet.
Result<ImageDesc> image_desc_from_json(std::string_view);
/// The reverse of to_json(Capabilities), made canonical: recorded tables.
Result<Capabilities> capabilities_from_json(std::string_view);
Result<Proof> proof_from_json(std::string_view);

} // namespace dmb::wire

// SPDX-License-Identifier: MIT
// `dmabrokerd --background`: whoever runs it gets the prompt back when the broker is ready.
#pragma once
#include "proto/base/unique_fd.hpp"

namespace dmb {

/// Goes on in a child process, in a session of its own, without the caller's standard input and output. The process that
/// was started never returns from here: it waits for say_ready(), prints the child's number and ends with 0; when
/// the child ends before that, it ends with 1. Call before there are threads. Returns what say_ready() takes.
Result<UniqueFd> go_background();
/// Does nothing with an empty one: nobody waits.
void say_ready(UniqueFd waiting);

} // namespace dmb

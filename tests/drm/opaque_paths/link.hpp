// SPDX-License-Identifier: MIT
// One end of a socketpair between two programs that share an image: words, and descriptors with them.
#pragma once
#include "proto/base/unique_fd.hpp"

#include <stdexcept>
#include <string>

namespace dmb::paths {

/// The path does not exist on this machine; what() says why.
struct Skip : std::runtime_error {
    using std::runtime_error::runtime_error;
};
/// The other end is gone: its own report says why.
struct PeerLeft : std::runtime_error {
    PeerLeft() : std::runtime_error("the other process left") {}
};

class Link {
public:
    explicit Link(UniqueFd socket);

    /// At most 4 KiB. The descriptor is borrowed; -1: none.
    void send(const std::string& text, int fd = -1);
    /// Waits for a minute at most. Both throw PeerLeft.
    std::string receive();
    /// The same, and the descriptor that came with it.
    std::string receive(UniqueFd& fd);
    /// Of a message that must be this word.
    void expect(const std::string& word, UniqueFd* fd = nullptr);

private:
    UniqueFd socket_;
};

struct LinkPair {
    UniqueFd first, second;
    static LinkPair make();
};

} // namespace dmb::paths
